package cli

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
)

// clock notes for how long it is asked for each host.
type clock struct {
	mu   sync.Mutex
	seen map[string]time.Duration
}

func (c *clock) Dial(ctx context.Context, name string) (host.Host, error) {
	until, _ := ctx.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[name] = time.Until(until).Round(5 * time.Second)
	return nil, &fault.Error{Class: fault.Unreachable, Host: name}
}

// TestAHealthFileIsLookedForAsLongAsItsStandbyMayTake to connect, and then to answer: its
// balancer has no connection that would say how long.
func TestAHealthFileIsLookedForAsLongAsItsStandbyMayTake(t *testing.T) {
	t.Parallel()
	standby := func(name string, connect time.Duration) *inventory.Host {
		return &inventory.Host{Name: name, Role: inventory.Standby, SSH: inventory.SSH{ConnectTimeout: connect}}
	}
	standbys := []*inventory.Host{standby("pg2", 10*time.Second), standby("pg3", time.Minute), standby("pg4", time.Minute)}
	standbys[2].Traffic = inventory.NoTraffic
	for given, want := range map[string]map[string]time.Duration{
		"0s":  {"pg2": 20 * time.Second, "pg3": 70 * time.Second},
		"30s": {"pg2": 40 * time.Second, "pg3": 40 * time.Second},
	} {
		flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
		settings.AddFlags(flags)
		if err := flags.Parse([]string{"--connect-timeout", given}); err != nil {
			t.Fatal(err)
		}
		set, err := settings.Load(flags, func(string) string { return "" }, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		c := &clock{seen: map[string]time.Duration{}}
		looks := lookForFile(t.Context(), c, standbys, "/run/out", (&app{set: set}).bound)
		if d := cmp.Diff(want, c.seen); d != "" {
			t.Errorf("--connect-timeout %s: %s", given, d)
		}
		out, err := keptOut(looks)
		if shown, failed := byHealthFile(looks); len(out) > 0 || err != nil || len(shown) > 0 || fault.ClassOf(failed) != fault.Unreachable {
			t.Errorf("of standbys that do not answer: %v, %v; %v, %v", out, err, shown, failed)
		}
	}
}
