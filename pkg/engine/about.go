package engine

import (
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// about is a run as the steps see it that are about one of several standbys: what
// was found out for another one, such as the end of its backup, is none of theirs, and
// each gets a key of its own.
type about struct {
	*state
	standby string
}

var _ steps.Run = (*about)(nil)

// Output is what was found out for that standby, else for the run as a whole.
func (a *about) Output(key string) (string, bool) {
	if v, ok := a.state.Output(ofStandby(a.standby, key)); ok {
		return v, true
	}
	return a.state.Output(key)
}

func (a *about) CopyKey(n int) (steps.Key, error) {
	return a.key(ofStandby(a.standby, strconv.Itoa(n)))
}

func ofStandby(name, key string) string { return name + "/" + key }

// outputs are what an effect of n found out, by the keys under which it is kept.
func outputs(n *plan.Node, out effect.Output) effect.Output {
	if n.Standby == nil || out == nil {
		return out
	}
	named := effect.Output{}
	for k, v := range out {
		named[ofStandby(n.Standby.Name, k)] = v
	}
	return named
}
