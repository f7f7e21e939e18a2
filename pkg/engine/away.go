package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Away is that several hosts of a plan cannot be asked. All are named at once: to learn
// of them one by one would cost a call for each.
type Away struct {
	Hosts []string // sorted
	text  string
}

func (e *Away) Error() string { return e.text }

// away is the error about hosts that cannot be asked; of one it is its own, which knows
// what to try there.
func away(failed map[string]error) error {
	names := slices.Sorted(maps.Keys(failed))
	switch len(names) {
	case 0:
		return nil
	case 1:
		return failed[names[0]]
	}
	class, parts := fault.Auth, make([]string, 0, len(names))
	for _, name := range names {
		if fault.ClassOf(failed[name]) == fault.Unreachable {
			class = fault.Unreachable
		}
		parts = append(parts, name+": "+strings.TrimPrefix(failed[name].Error(), name+": "))
	}
	return &fault.Error{Class: class, Hint: "which hosts answer, and what to try at each of the others: pgrepctl status",
		Err: &Away{names, fmt.Sprintf("%d hosts cannot be asked: %s", len(names), strings.Join(parts, "; "))}}
}

// cannotBeAsked: it is about the way to the host, and says nothing of other hosts.
func cannotBeAsked(err error) bool {
	class := fault.ClassOf(err)
	return class == fault.Unreachable || class == fault.Auth
}
