package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

// write leaves the table for people, and the figures for machines.
func (m *matrix) write(t *testing.T) {
	t.Helper()
	s := m.sites[0]
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "crash-matrix.md"), []byte(m.page()), 0o644); err != nil {
		t.Error(err)
	}
	var r figures.Report
	m.report(&r)
	r.AtMost("failed cells", float64(m.failed()), "count", 0)
	r.Note("cells run", float64(len(m.verdicts)), "count")
	r.Note("cells in all", float64(len(m.cells())), "count")
	s.do(t, r.Write(filepath.Join("..", "..", "build", "figures", "crash-matrix.jsonl")))
	s.do(t, r.Table(os.Stdout))
}

func (m *matrix) page() string {
	return fmt.Sprintf(`# The crash matrix

Written by `+"`make crash-matrix`"+`. A bootstrap on real hosts is broken off at each act that its journal announces (the rows), in each
of these ways (the columns). After each: nothing half-made could start, nobody could write on the standby, and what the cell says led to
a standby that streams, with equal tables and with nothing left that a clean run does not leave; or, for *undo*, to where the run began.

| cell | means |
| --- | --- |
| resume | the run ended or was killed; `+"`runs resume RUN`"+` finished it |
| again | the run ended before it changed anything; the same command, typed again, made the standby |
| undo | the tool was killed; `+"`runs undo RUN`"+` took the run back, byte for byte |
| done | the run ended well all the same |
| n/a | there is nothing to strike at this act |
| - | not run: the time that was given (BUDGET) was over |

%d of %d cells run, in random order: %d failed, %d startable partial copies, %d writable twins, %d with residue, %d with unequal tables.

%s`, len(m.verdicts), len(m.cells()), m.failed(), m.startable.Load(), m.writable.Load(), m.residue.Load(), m.unequal.Load(), m.table())
}
