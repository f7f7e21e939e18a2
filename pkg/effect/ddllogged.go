package effect

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// logged is what an attempt may have locked against readers. A lock is in the WAL from the
// moment it is granted (LogAccessExclusiveLock), so replay takes it of an attempt that was
// rolled back, too: a standby that goes on after that is let go as after a COMMIT.
type logged struct {
	of   [][]int64 // of each statement: what it names, with partitions, heirs, and the tables of indexes
	done []int64
}

// logs asks for it ahead: once a statement has failed nobody knows any more.
func (e *DDL) logs(ctx context.Context, s host.SQL) (*logged, error) {
	out := &logged{of: make([][]int64, len(e.Statements))}
	if len(e.Paused) == 0 {
		return out, nil
	}
	query, err := postgres.RelationsBelow(e.targets())
	if err != nil || query == "" {
		return out, err
	}
	var rows []struct {
		N   int   `json:"n"`
		OID int64 `json:"oid"`
	}
	if err := s.Query(ctx, &rows, query); err != nil {
		return nil, err
	}
	for _, r := range rows {
		out.of[r.N] = append(out.of[r.N], r.OID)
	}
	return out, nil
}

// targets are the names that each statement acts on. What cannot be read the server says.
func (e *DDL) targets() [][]string {
	out := make([][]string, len(e.Statements))
	for i, q := range e.Statements {
		script, err := ddl.Parse("", []byte(q), e.Version)
		if err != nil {
			continue
		}
		for _, st := range script.Statements {
			if st.Class == ddl.None {
				continue
			}
			for _, n := range st.Targets {
				out[i] = append(out[i], n.String())
			}
		}
	}
	return out
}

// ran: the statement at i has come to its end, well or not. Of a lock that was not
// obtained, and is the only one, nothing is in the WAL.
func (l *logged) ran(i int, err error) {
	if lockNotObtained(err) && len(l.of[i]) <= 1 {
		return
	}
	l.done = append(l.done, l.of[i]...)
}

// note keeps for the next resume what replay is about to lock.
func (l *logged) note(ctx context.Context, env Env) error {
	slices.Sort(l.done)
	list := make([]string, 0, len(l.done))
	for _, oid := range slices.Compact(l.done) {
		list = append(list, strconv.FormatInt(oid, 10))
	}
	now := strings.Join(list, ",")
	if was, _ := env.Known(DDLRelations); was == now {
		return nil
	}
	return env.Note(ctx, Output{DDLRelations: now})
}
