package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// List returns the runs that this machine knows, and those that keep a copy of
// their journal on the primary, oldest first, with what is known of each there. The
// error is about the primary.
func (e *Engine) List(ctx context.Context) ([]journal.Summary, error) {
	runs, err := journal.List(e.Dir)
	if err != nil {
		return nil, err
	}
	for i, r := range runs {
		if busy, err := journal.Busy(r.Path); err == nil && busy && r.Status == journal.Running {
			runs[i].Status = journal.Going // whatever the primary knows of it
		}
	}
	name := e.Inventory.Primary().Name
	w := newWorld(e.Cluster)
	h, err := w.Of(ctx, name)
	if err != nil {
		return runs, err
	}
	for i, r := range runs {
		if !r.Open() {
			continue
		}
		f, err := e.here(r.ID)
		if err != nil || f == nil {
			continue
		}
		h := h
		if on := e.meets(r.Run); on != name {
			if h, err = w.Of(ctx, on); err != nil {
				continue // it cannot be told
			}
		}
		f.asked = true
		if slices.ContainsFunc(h.Runs, func(c facts.Run) bool { return c.ID == r.ID }) {
			f.copy = f.here
		}
		switch {
		case h.Server.Holds(r.ID):
			runs[i].Status = journal.Going
		case f.endedElsewhere():
			runs[i].Status = journal.Elsewhere
		}
	}
	for _, c := range e.elsewhere(h, runs) {
		s := summary(c, name)
		if h.Server.Holds(c.ID) {
			s.Status = journal.Going
		}
		runs = append(runs, s)
	}
	taken, _, err := e.endedHere(ctx, w, name, h, runs)
	for _, f := range taken {
		s := f.Summary
		if h.Server.Holds(f.ID) {
			s.Status = journal.Going
		}
		runs[slices.IndexFunc(runs, func(r journal.Summary) bool { return r.ID == f.ID })] = s
	}
	slices.SortFunc(runs, func(a, b journal.Summary) int { return strings.Compare(a.ID, b.ID) })
	return runs, err
}

func summary(c facts.Run, on string) journal.Summary {
	return journal.Summary{Run: journal.Run{ID: c.ID, Cluster: c.Cluster, Plan: c.Plan, Vars: c.Vars, Operator: c.Operator}, Path: on + ":" + c.Path, On: on,
		Status: journal.Running, Started: c.Started, Ended: c.Started, Acted: true}
}

// elsewhere are the runs of other machines that a host has copies of.
func (e *Engine) elsewhere(h *facts.Host, here []journal.Summary) []facts.Run {
	var out []facts.Run
	for _, c := range h.Runs {
		// A journal of ours that does not owe anything, and is not over, is the
		// beginning of what the copy has.
		known := slices.ContainsFunc(here, func(s journal.Summary) bool {
			return s.ID == c.ID && (s.Open() || s.Over() || s.Status == journal.Elsewhere)
		})
		if c.Cluster == e.Inventory.Name && !known && runID.MatchString(c.ID) {
			out = append(out, c)
		}
	}
	return out
}
