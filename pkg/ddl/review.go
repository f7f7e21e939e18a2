package ddl

import (
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func setNotNullHint(v postgres.Version) string {
	if v != 0 && !v.AtLeast(12) {
		return "ADD CHECK (column IS NOT NULL) NOT VALID and VALIDATE CONSTRAINT, and leave it at that: before 12, SET NOT NULL reads the table whatever is proved"
	}
	return "ADD CHECK (column IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in a later transaction, then SET NOT NULL, which believes it (12 and later), and drop the check"
}

func reindexHint(v postgres.Version) string {
	if v != 0 && !v.AtLeast(12) {
		return "CREATE INDEX CONCURRENTLY of another name, DROP INDEX CONCURRENTLY of the old one"
	}
	return "REINDEX … CONCURRENTLY, in a script of its own (12 and later)"
}

func (c *classifier) warnTruncate() {
	c.warn("data-loss", "", "what is in it is gone when it commits, on every standby too")
}

func (c *classifier) warnWrites(what string) {
	c.warn("locks-writers", "", "waits for every writer of the table, and new ones wait behind it, while the %s is made", what)
}

func (c *classifier) warnRename(what string) {
	c.warn("not-backward-compatible", "keep the old name too: a view of that name, or a second column that both versions of the program write; take it away in a later deploy",
		"programs that use the old name of the %s fail, on the primary at once and on the standbys when it is replayed", what)
	if what == "column" {
		c.warnPlans()
	}
}

func (c *classifier) warnPlans() {
	c.warn("prepared-statements", "write lists of columns, or let the program prepare again at 0A000",
		"a prepared SELECT * fails once in each session: cached plan must not change result type (0A000)")
}

func (c *classifier) warnVolatile(what string) {
	c.warn("rewrite", "add the column without it, set the default for new rows, fill old rows in batches",
		"%s writes every row and every index anew under the lock; the standbys replay all of it", what)
}

// note says what a reviewer would of statements from the list.
func (c *classifier) note(words string) {
	switch words {
	case "drop table", "drop foreign table":
		c.warn("data-loss", "", "what is in it is gone when it commits, on every standby too")
		c.warnGone()
	case "drop view", "drop materialized view", "drop sequence", "drop function", "drop procedure", "drop type", "drop schema":
		c.warnGone()
	}
	if strings.HasPrefix(words, "alter schema") && has(c.tokens, "rename to") {
		c.warnRename("schema")
	}
}

func (c *classifier) warnGone() {
	c.warn("not-backward-compatible", "first deploy programs that do not use it, then drop it", "programs that still use it fail, on the primary at once and on the standbys when it is replayed")
}

// review says what can only be seen of the script as a whole.
func (s *Script) review() {
	var locked []string // in the transaction so far, in order
	for i := range s.Statements {
		st := &s.Statements[i]
		if !st.Transactional {
			locked = nil
			continue
		}
		if st.Class != Lock && st.Class != Rewrite {
			continue
		}
		told := false
		for _, n := range st.chosen() {
			name := n.String()
			if slices.Contains(locked, name) {
				continue
			}
			if len(locked) > 0 && !told {
				told = true
				st.Warnings = append(st.Warnings, Warning{ID: "several-tables", Hint: "one table in a script",
					Text: "locks " + name + " while " + locked[0] + " is locked already: a deadlock with whoever takes them the other way round, and readers of the first wait while it waits for the second"})
			}
			locked = append(locked, name)
		}
	}
}

// chosen are the relations that the script need not lock in one statement: those of a
// list, and else the first one. A partition and its parent belong together.
func (st *Statement) chosen() []Name {
	var all []Name
	for _, n := range st.Targets {
		if !n.Made {
			all = append(all, n)
		}
	}
	for _, c := range []string{"DROP ", "TRUNCATE ", "LOCK "} {
		if strings.HasPrefix(st.Command, c) {
			return all
		}
	}
	return all[:min(len(all), 1)]
}
