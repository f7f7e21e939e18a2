package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/check"
)

// The unit and the configuration of HAProxy call the tool as it can be called, and
// agree on where it listens.
func TestExamplesOfTheCheckCallItRight(t *testing.T) {
	t.Parallel()
	for file, mark := range map[string]string{"../../examples/systemd/pgrepctl-check.service": "ExecStart=", "../../examples/haproxy.cfg": "#   pgrepctl "} {
		n := 0
		for _, line := range strings.Split(string(read(t, file)), "\n") {
			if !strings.HasPrefix(line, mark) {
				continue
			}
			n++
			words, ok := exampleWords(strings.TrimLeft(line, "# "))
			if !ok {
				t.Errorf("%s: %q calls nothing", file, line)
				continue
			}
			found, rest, err := everyCommand()[0].Find(words)
			if err != nil || found.CommandPath() != "pgrepctl check serve" {
				t.Errorf("%s: %q: %v", file, line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %q: %v", file, line, err)
			}
			listen, _ := found.Flags().GetStringSlice("listen")
			agents, _ := found.Flags().GetStringSlice("agent-listen")
			if len(listen) != 1 || listen[0] != "127.0.0.1:8008" || len(agents) != 1 || agents[0] != "127.0.0.1:8009" {
				t.Errorf("%s: it listens on %v and %v, and HAProxy asks 8008 and 8009", file, listen, agents)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d calls", file, n)
		}
	}
}

func TestARunThatGoesOnIsNamedBeforeOneThatHasEnded(t *testing.T) {
	t.Parallel()
	got := withPauses(map[string]check.Plan{"pg2": {Run: "r2", Going: true, Paused: true}},
		map[string]check.Pause{"pg2": {Run: "r1"}, "pg3": {Run: "r1", Operator: "anna@desk"}})
	want := map[string]check.Plan{"pg2": {Run: "r2", Going: true, Paused: true}, "pg3": {Run: "r1", Operator: "anna@desk", Paused: true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
