package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// endedHere sorts the copies on a host of runs that are over on this machine. One that is
// the beginning of the journal here could not be removed when the run ended. One that tells
// of more is of a run that was abandoned here while the host could not be asked, and that
// another machine went on with: it is open.
func (e *Engine) endedHere(ctx context.Context, w *world, on string, h *facts.Host, runs []journal.Summary) (open []*Found, left []facts.Run, err error) {
	for _, c := range h.Runs {
		over := slices.ContainsFunc(runs, func(s journal.Summary) bool { return s.ID == c.ID && s.Over() })
		if c.Cluster != e.Inventory.Name || !over || !runID.MatchString(c.ID) {
			continue
		}
		here, err := e.here(c.ID)
		if err != nil {
			return nil, nil, err
		}
		if here == nil {
			continue
		}
		f, err := e.copyOn(ctx, w, on, c.ID, here)
		if err != nil {
			return nil, nil, fmt.Errorf("look whether another machine went on with run %s: %w", c.ID, err)
		}
		if f.adopts() {
			open = append(open, f)
		} else if f.copy != nil {
			left = append(left, c)
		}
	}
	return open, left, nil
}

// besideOthers refuses while a run of another machine has its lock, or its journal, on another host
// than this one will: one that replaces the primary, or whose primary could not be asked. Only
// hosts that were read anyway are looked at: one that is gone would take its time.
func (e *Engine) besideOthers(w *world, here []journal.Summary, meets string) error {
	for _, name := range e.Inventory.Names() {
		h := w.Known(name)
		if h == nil || name == meets {
			continue
		}
		for _, c := range e.elsewhere(h, here) {
			switch {
			case e.meeting(c.Meets) != name: // left there, by a primary that this one no longer is
			case h.Server.Holds(c.ID):
				return effect.Locked(name, h.Server.Lock)
			default:
				return e.openRun(summary(c, name))
			}
		}
	}
	return nil
}

// openOf is openRun for a run of which more is known than this machine's journal tells.
func (e *Engine) openOf(f *Found) error {
	err := e.openRun(f.Summary)
	err.Hint = e.waysOf(f)
	return err
}

// noOtherOpen refuses what must not be done beside an open run of another machine, other
// than the run of that id. It returns the copies that were left of runs that are over.
func (e *Engine) noOtherOpen(ctx context.Context, w *world, on, id string) (left []facts.Run, err error) {
	h, err := w.Of(ctx, on)
	if err != nil {
		return nil, err
	}
	runs, err := journal.List(e.Dir)
	if err != nil {
		return nil, err
	}
	for _, c := range e.elsewhere(h, runs) {
		if c.ID != id {
			return nil, e.openRun(summary(c, on))
		}
	}
	open, left, err := e.endedHere(ctx, w, on, h, runs)
	if err != nil {
		return nil, err
	}
	for _, f := range open {
		if f.ID != id {
			return nil, e.openOf(f)
		}
	}
	return slices.DeleteFunc(left, func(c facts.Run) bool { return c.ID == id }), nil
}

// RefuseUndoNow says what an undo would be refused for once it has looked at the hosts. Of
// one that cannot be asked it says nothing: the undo does what it can there.
func (e *Engine) RefuseUndoNow(ctx context.Context, f *Found) error {
	if !f.Run.NoCopy {
		if _, err := e.noOtherOpen(ctx, newWorld(e.Cluster), e.meets(f.Run), f.ID); err != nil && !cannotBeAsked(err) {
			return err
		}
	}
	list, err := owedInverses(f.Records)
	if err != nil {
		return err
	}
	if err := e.refuseOthersData(ctx, list, f.Records, map[string]error{}); err != nil {
		return err
	}
	return e.refuseSecondPrimary(ctx, f, list)
}

// refuseSecondPrimary refuses an undo that would start the primary again that a promotion has
// stopped, when another server takes writes by now: while nobody could write, somebody has
// promoted it by hand. Of a host that cannot be asked nothing is known, and one that was left out
// took writes before.
func (e *Engine) refuseSecondPrimary(ctx context.Context, f *Found, list []owed) error {
	i := slices.IndexFunc(list, func(o owed) bool {
		s, ok := o.inverse.(*effect.Service)
		return ok && o.step == steps.StepDownKind && s.Action == "start"
	})
	if i < 0 {
		return nil
	}
	stopped := list[i].inverse.On()
	out := inventory.NamesIn(f.Run.Vars["without"])
	w := newWorld(e.Cluster)
	for _, name := range e.Inventory.Names() {
		if name == stopped || slices.Contains(out, name) {
			continue
		}
		if h, err := w.Of(ctx, name); err == nil && h.Server.Running && !h.Server.InRecovery {
			return fault.Refuse(name, "to go on, with "+f.Run.Vars["standby"]+" as the primary: pgrepctl runs resume "+f.ID+"; to leave what the run did as it is: pgrepctl runs abandon "+f.ID,
				fmt.Errorf("it takes writes: somebody has promoted it, and to take the run back would start %s beside it, as a second primary", stopped))
		}
	}
	return nil
}

// refuseOthersData refuses an undo that would empty a directory which has the copy of another
// backup by now. It is asked before anything is taken back: a stop of that server, and its
// slot, come first. gone gets the hosts that cannot be asked: what is theirs stays then.
func (e *Engine) refuseOthersData(ctx context.Context, list []owed, recs []journal.Record, gone map[string]error) error {
	for _, o := range list {
		dir, ok := o.inverse.(*effect.EmptyDirectory)
		if !ok || gone[dir.Host] != nil {
			continue
		}
		h, err := e.Cluster.Host(ctx, dir.Host)
		if err == nil {
			err = dir.RefuseOther(ctx, h, recs[0].Run.ID, ownBackup(recs))
		}
		if fault.ClassOf(err) == fault.Unreachable && ctx.Err() == nil {
			gone[dir.Host] = err
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownBackup reports whether a backup_label is of a backup that the run of these records
// made. What the server gave at its end stands in the journal, before any file is made of
// it. That of an exclusive backup comes with the copy, perhaps before that end; it has the
// run's id.
func ownBackup(recs []journal.Record) func(label string) bool {
	id := recs[0].Run.ID
	return func(label string) bool {
		for _, rec := range recs {
			for key, given := range rec.Output { // of one of several standbys it has a name before it
				if given == label && (key == effect.BackupLabel || strings.HasSuffix(key, ofStandby("", effect.BackupLabel))) {
					return true
				}
			}
		}
		for line := range strings.Lines(label) {
			if words, ok := strings.CutPrefix(strings.TrimSpace(line), "LABEL: "); ok && slices.Contains(strings.Split(words, ":"), id) {
				return true
			}
		}
		return false
	}
}
