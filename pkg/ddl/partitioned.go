package ddl

import (
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Partitioned puts right what the words of a statement do not tell: is says of what is a
// partitioned table or index. REINDEX (14 and later) and CLUSTER (15) go through its
// partitions in a transaction each, and so can be part of none: the server says so (25001)
// when they are run, and the readers would be moved by then. Before those versions nothing
// is done: it is an error, or REINDEX TABLE a warning. ADD FOREIGN KEY (11) makes one of what
// the partitions have already.
func (s *Script) Partitioned(v postgres.Version, is func(Name) bool) {
	for i := range s.Statements {
		st := &s.Statements[i]
		if len(st.Targets) == 0 || !is(st.Targets[0]) {
			continue
		}
		switch {
		case st.AddsKey && st.Class < Lock && v.AtLeast(11):
			st.Class, st.Why = Lock, mergedKeys
		case strings.HasPrefix(st.Command, "REINDEX") && !v.AtLeast(14):
			st.Class, st.Why = Refuse, "REINDEX of what is partitioned needs PostgreSQL 14: REINDEX its partitions"
		case st.Command == "CLUSTER" && !v.AtLeast(15):
			st.Class, st.Why = Refuse, "CLUSTER of a partitioned table needs PostgreSQL 15: CLUSTER its partitions"
		case st.Command == "REINDEX":
			st.Transactional, st.Why = false, "of what is partitioned it is a transaction for each partition; REINDEX CONCURRENTLY, or of one partition after the other, can be rolled out"
		case st.Command == "CLUSTER":
			st.Transactional, st.Why = false, "of a partitioned table it is a transaction for each partition; CLUSTER of one partition after the other can be rolled out"
		}
	}
}

// NoIndexes puts right ALTER INDEX: no says of what is something else than an index. The server
// renames that, too; of all its other forms it says an error.
func (s *Script) NoIndexes(no func(Name) bool) {
	for i := range s.Statements {
		st := &s.Statements[i]
		if st.Command == "ALTER INDEX" && st.Class < Lock && len(st.Targets) > 0 && no(st.Targets[0]) {
			st.Class, st.Why = Lock, renamesNoIndex
		}
	}
}
