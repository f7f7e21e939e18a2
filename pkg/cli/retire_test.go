package cli

import (
	"strings"
	"testing"
)

func TestADelayedDownstreamThatWasNotWaitedForIsNamed(t *testing.T) {
	t.Parallel()
	inv := cluster(t, strings.Replace(cascade, "upstream: pg2}", "upstream: pg2, apply_delay: 2h}", 1))
	for host, want := range map[string]string{
		"pg2": "when pg3 has replayed what it has, 2h0m0s late as it should, to prove that it streams from pg4: pgrepctl standby verify pg3",
		"pg3": "",
	} {
		r := retirement{host: host, repointTo: "pg4"}
		out := strings.Join(r.next(inv, hostOf(inv, host)), "\n")
		if !strings.Contains(out, want) || strings.Contains(out, "standby verify") != (want != "") {
			t.Errorf("%s: want %q in:\n%s", host, want, out)
		}
	}
}
