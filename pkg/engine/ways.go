package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// RefuseUndo says why an undo of the run would not be begun. A dry run ends with it, too.
func (e *Engine) RefuseUndo(f *Found) error {
	if err := f.refuseNewer(); err != nil {
		return err
	}
	return errors.Join(e.refuseElsewhere(f), e.laterRun(f.ID), f.refuseNoReturn())
}

// WaysOut are the commands that can be typed about a run that is not finished. Of a run
// that this machine does not have nobody knows better.
func (e *Engine) WaysOut(id string) string {
	f, err := e.here(id)
	if err != nil || f == nil {
		return "to go on: pgrepctl runs resume " + id + "; to take it back: pgrepctl runs undo " + id
	}
	return e.waysOf(f)
}

// waysOf offers what would not be refused.
func (e *Engine) waysOf(f *Found) string {
	known := f.refuseNewer() == nil
	undoing, back := f.beingUndone(), known && f.refuseNoReturn() == nil
	forward := false
	if f.Open() && !undoing && known {
		_, err := e.planOf(f)
		forward = err == nil
	}
	var ways []string
	if forward {
		ways = append(ways, "to go on: pgrepctl runs resume "+f.ID)
	}
	if back {
		ways = append(ways, "to take it back: pgrepctl runs undo "+f.ID)
	}
	if f.Open() && !undoing && (!forward || !back) {
		ways = append(ways, "to end it and leave what it did as it is: pgrepctl runs abandon "+f.ID)
	}
	return strings.Join(ways, "; ")
}

// unfit: the inventory has changed so that the plan of an open run means nothing any more,
// as after a promotion: its standby is the primary now.
func (e *Engine) unfit(f *Found, err error) error {
	var problems inventory.Errors
	why := err.Error()
	if errors.As(err, &problems) {
		var texts []string
		for _, p := range problems {
			texts = append(texts, strings.TrimPrefix(p.Path+": "+p.Message, ": "))
		}
		why = strings.Join(texts, "; ") // the places are those of a file that nobody has
	}
	hint := "to end it and leave what it did as it is: pgrepctl runs abandon " + f.ID
	if f.refuseNoReturn() == nil {
		hint = "to take it back: pgrepctl runs undo " + f.ID + "; " + hint
	}
	return &fault.Error{Class: fault.Refused, Err: fmt.Errorf("run %s cannot go on with the inventory as it is now: %s", f.ID, why),
		State: f.Rest(), Hint: hint + "; what is wrong then: pgrepctl status"}
}

// Rest says what an open run did not do, as far as its journal knows: where it failed, or
// what it did last. Empty if it began nothing.
func (f *Found) Rest() string {
	for _, r := range slices.Backward(f.Records) {
		switch {
		case r.Type == journal.Failed && r.Node != "":
			return fmt.Sprintf("not done: %s (step %s), which failed, and what comes after it in plan %s: %s", r.Step, r.Node, f.Run.Plan, r.Error)
		case r.Type == journal.Intent && !r.Locks():
			return fmt.Sprintf("not done: what comes after %q on %s (step %s) in plan %s", r.Text, r.Host, r.Node, f.Run.Plan)
		}
	}
	return ""
}
