package effect

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// logged is what an attempt may have locked against readers. A lock is in the WAL from the
// moment it is granted (LogAccessExclusiveLock), so replay takes it of an attempt that was
// rolled back, too: a standby that goes on after that is let go as after a COMMIT.
type logged struct {
	locks []postgres.Locking // of each statement
	of    [][]int64          // and what that comes to
	done  []int64
}

// ask is before the first statement: once one has failed nobody knows any more. It is in
// the transaction, for the role that runs the statements may mean something else by a name.
func (l *logged) ask(ctx context.Context, e *DDL, s host.SQL) error {
	l.locks, l.of = e.locks(), make([][]int64, len(e.Statements))
	if len(e.Paused) == 0 {
		return nil
	}
	query, err := e.Version.MayLock(l.locks)
	if err != nil || query == "" {
		return err
	}
	var rows []struct {
		N   int   `json:"n"`
		OID int64 `json:"oid"`
	}
	if err := s.Query(ctx, &rows, query); err != nil {
		return fmt.Errorf("ask what the statements may lock: %w", err)
	}
	for _, r := range rows {
		l.of[r.N] = append(l.of[r.N], r.OID)
	}
	return nil
}

// locks are the names that each statement acts on. What cannot be read the server says.
func (e *DDL) locks() []postgres.Locking {
	out := make([]postgres.Locking, len(e.Statements))
	for i, q := range e.Statements {
		out[i].Lone = lone(q)
		script, err := ddl.Parse("", []byte(q), e.Version)
		if err != nil {
			continue
		}
		for _, st := range script.Statements {
			if st.Class == ddl.None {
				continue
			}
			for _, n := range st.Targets {
				out[i].Names = append(out[i].Names, n.String())
			}
		}
	}
	return out
}

// lone: an ALTER TABLE that adds, renames, enables or disables waits for no other lock once it
// has those of the table, its heirs and partitions. Others may: with the table locked they
// open the other end of a foreign key, or a sequence that a transaction holds which has
// called nextval. A word of theirs that is a name here does no harm.
func lone(statement string) bool {
	words := strings.FieldsFunc(strings.ToLower(statement), func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	others := []string{"alter", "attach", "detach", "drop", "inherit", "of", "owner", "references", "replica", "set", "validate"}
	return len(words) > 2 && words[0] == "alter" && words[1] == "table" &&
		!slices.ContainsFunc(words[2:], func(w string) bool { return slices.Contains(others, w) })
}

// ran: the statement at i has come to its end, well or not. Of a lock that was not
// obtained, and is the only one, nothing is in the WAL.
func (l *logged) ran(i int, err error) {
	if lockNotObtained(err) && l.locks[i].Lone && len(l.of[i]) <= 1 {
		return
	}
	l.done = append(l.done, l.of[i]...)
}

// note keeps for the next resume what replay is about to lock. After the last statement
// that is known, of what was prepared.
func (l *logged) note(ctx context.Context, env Env, prepared Output) error {
	now, known := prepared[DDLRelations]
	if !known {
		now = l.list()
	}
	if was, _ := env.Known(DDLRelations); was == now {
		return nil
	}
	return env.Note(ctx, Output{DDLRelations: now})
}

func (l *logged) list() string {
	slices.Sort(l.done)
	out := make([]string, 0, len(l.done))
	for _, oid := range slices.Compact(l.done) {
		out = append(out, strconv.FormatInt(oid, 10))
	}
	return strings.Join(out, ",")
}
