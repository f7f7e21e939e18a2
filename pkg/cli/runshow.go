package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// runRecords is the journal of a run.
type runRecords struct {
	Format  string           `json:"format"`
	Records []journal.Record `json:"records"`
}

func (a *app) showRun(ctx context.Context, id string) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	f, err := s.Find(ctx, id)
	if err != nil {
		return err
	}
	if a.set.Output() != "table" {
		return a.encode(runRecords{"pgrepctl.run-records/v1", f.Records})
	}
	if err := a.runHead(f); err != nil {
		return err
	}
	return ui.Table(a.Out, []string{"#", "AT", "HOST", "STEP", "STATE", "WHAT"}, runRows(f.Records), ui.TableOptions{Color: a.colorOn(a.Out)})
}

// runHead says who began what, when, and how it stands.
func (a *app) runHead(f *engine.Found) error {
	plan := f.Plan
	if sb := f.Vars["standby"]; sb != "" {
		plan += " of " + sb
	}
	const at = "2006-01-02 15:04:05Z"
	where := f.Path
	if f.On != "" {
		where += " (another machine's)"
	}
	_, err := fmt.Fprintf(a.Out, "run      %s\nplan     %s\ncluster  %s\nby       %s\nbegan    %s\nlast     %s\nstatus   %s\njournal  %s\n\n",
		f.ID, plan, f.Cluster, f.Operator, f.Started.Format(at), f.Ended.Format(at), f.Status, where)
	return err
}

// runRows are one row an act, with what became of it; all records as they are
// come with -o json.
func runRows(recs []journal.Record) [][]ui.Cell {
	became := map[int]journal.Record{}
	for _, r := range recs {
		if r.Of > 0 {
			became[r.Of] = r // the last one counts: done, then undone
		}
	}
	var rows [][]ui.Cell
	row := func(r journal.Record, style ui.Style, state, what string) {
		cells := ui.Row(strconv.Itoa(r.Seq), r.At.Format("15:04:05.000"), r.Host, r.Step, state, what)
		cells[4].Style = style
		rows = append(rows, cells)
	}
	for _, r := range recs {
		switch {
		case r.Type == journal.Intent:
			state, style, what := "begun", ui.Warn, r.Text
			if end, ok := became[r.Seq]; ok {
				state, style = string(end.Type), ui.Normal
				if end.Type == journal.Failed {
					style, what = ui.Bad, r.Text+": "+end.Error
				}
				if end.Untouched {
					state = "not done"
				}
			}
			row(r, style, state, what)
		case r.Type == journal.Noop:
			row(r, ui.Normal, "in place", r.Text)
		case r.Type == journal.Note:
			var words []string
			for _, key := range slices.Sorted(maps.Keys(r.Output)) {
				words = append(words, key+" "+r.Output[key])
			}
			row(r, ui.Normal, "noted", strings.Join(words, ", "))
		case r.Type == journal.Failed && r.Of == 0:
			row(r, ui.Bad, "failed", r.Error)
		case r.Type == journal.Undoing:
			row(r, ui.Bold, "undo", "the run is taken back from here on")
		case r.Type == journal.End:
			what := "the run ended: " + string(r.Status)
			row(r, ui.Bold, "end", what)
		}
	}
	return rows
}
