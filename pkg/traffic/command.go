package traffic

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// Command puts a standby's name at the balancer into an argv of the inventory: %h
// is the name, %% is %.
func Command(argv []string, server string) []string {
	replace := strings.NewReplacer("%%", "%", "%h", server)
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = replace.Replace(a)
	}
	return out
}

// ReadCommand reads what a command of the inventory prints for status: "drained"
// or "serving", and perhaps the number of sessions.
func ReadCommand(server, answer string) (facts.Balanced, error) {
	s := facts.Balanced{Name: server, Sessions: -1}
	words := strings.Fields(answer)
	if len(words) == 0 || len(words) > 2 || words[0] != string(facts.Drained) && words[0] != string(facts.Serving) {
		return s, fmt.Errorf("the status command printed %.80q: want drained or serving, and perhaps the number of sessions", answer)
	}
	s.State = facts.BalanceState(words[0])
	if len(words) == 2 {
		n, err := strconv.Atoi(words[1])
		if err != nil || n < 0 {
			return s, fmt.Errorf("the status command printed %.80q: the number of sessions is none", answer)
		}
		s.Sessions = n
	}
	return s, nil
}
