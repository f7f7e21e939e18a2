package inventory

import (
	"testing"
	"time"
)

// TestACheckIsGivenTimeToSeeAFile: unless an HAProxy says itself what it does, or the
// inventory says how long.
func TestACheckIsGivenTimeToSeeAFile(t *testing.T) {
	t.Parallel()
	const haproxy = "    lb: {kind: haproxy, socket: /run/s, backend: reads}\n"
	for name, c := range map[string]struct {
		balancers string
		want      time.Duration
	}{
		"alone":                     {"    check: {kind: file, path: /run/f}\n", 6 * time.Second},
		"beside an haproxy":         {haproxy + "    check: {kind: file, path: /run/f}\n", 0},
		"as said":                   {"    check: {kind: file, path: /run/f, settle: 20s}\n", 20 * time.Second},
		"as said, beside it":        {haproxy + "    check: {kind: file, path: /run/f, settle: 1.5s}\n", 1500 * time.Millisecond},
		"not at all, as said":       {"    check: {kind: file, path: /run/f, settle: 0s}\n", 0},
		"in front of PgBouncer too": {"    check: {kind: file, path: /run/f}\n    pool: {kind: pgbouncer}\n", 6 * time.Second},
	} {
		cl, err := Parse("pgrepctl.yaml", []byte("cluster: shop\npostgres: {version: 15, data_directory: /srv/pg}\ntraffic:\n  balancers:\n"+c.balancers+"hosts:\n  pg1: {role: primary}\n"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, _ := cl.Balancer("check"); b.Settle != c.want {
			t.Errorf("%s: %s, want %s", name, b.Settle, c.want)
		}
		if b, ok := cl.Balancer("lb"); ok && b.Settle != 0 {
			t.Errorf("%s: the haproxy has %s", name, b.Settle)
		}
	}
}
