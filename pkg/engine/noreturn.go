package engine

import (
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// noWayBack is the act after which an undo is not begun at all: the last one, or one
// that what came later builds on, such as a promotion that others follow.
func noWayBack(list []owed) (owed, bool) {
	for i, o := range slices.Backward(list) {
		if o.inverse == nil && (o.claims || i == len(list)-1) {
			return o, true
		}
	}
	return owed{}, false
}

// refuseNoReturn: a run that is over stays so, and an open one goes forward.
func (f *Found) refuseNoReturn() error {
	list, err := owedInverses(f.Records)
	if err != nil {
		return err
	}
	last, ok := noWayBack(list)
	if !ok {
		return nil
	}
	hint := "go forward instead: pgrepctl runs resume " + f.ID + "; to end it and leave what it did as it is: pgrepctl runs abandon " + f.ID
	if !f.Open() {
		hint = "what came before it stays, too: the run is over"
	}
	return fault.Refuse("", hint, fmt.Errorf("%q cannot be undone: %s", last.text, last.noReturn))
}
