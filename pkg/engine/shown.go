package engine

import (
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// asShown is asked for each node just before its effects. Every node is planned again under the
// lock, perhaps long after the operator was asked: what has become needless meanwhile is left
// out. What is lost by an act is only done when it was shown: of a slot that somebody had left
// for a moment an undo does not bring back the WAL.
func (r *run) asShown(n *plan.Node, planned []effect.Effect) error {
	if r.shown == nil {
		return nil
	}
	for _, e := range planned {
		d := e.Describe()
		if d.NoReturn == "" && (d.Verb != "drop" || e.Inverse() == nil) { // a slot that keeps nothing is dropped without one
			continue
		}
		was := func(x effect.Description) bool { return x.Host == e.On() && x.Verb == d.Verb && x.Subject == d.Subject }
		if !slices.ContainsFunc(r.shown, func(l Line) bool { return slices.ContainsFunc(l.Effects, was) }) {
			return fault.Refuse(e.On(), "type the same command again, and look at what it shows", fmt.Errorf("%s: it would %s %s now, which the plan that was shown did not", n.Kind, d.Verb, d.Subject))
		}
	}
	return nil
}
