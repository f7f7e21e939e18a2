package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// TestPoolsOfSessionsAreFound: a database has a pool_mode of its own, or that of the
// configuration. The console is always in mode statement or session, and counts for nothing.
func TestPoolsOfSessionsAreFound(t *testing.T) {
	t.Parallel()
	databases := []map[string]string{{"name": "shop", "pool_mode": ""}, {"name": "app", "pool_mode": "transaction"}, {"name": "old", "pool_mode": "session"}, {"name": "pgbouncer", "pool_mode": "session"}}
	for name, c := range map[string]struct {
		mode string
		only []string
		want []string
	}{
		"by the configuration":   {"session", nil, []string{"shop", "old"}},
		"by a database":          {"transaction", nil, []string{"old"}},
		"of others than ours":    {"transaction", []string{"shop", "app"}, nil},
		"of ours, that have one": {"session", []string{"app"}, nil},
	} {
		config := []map[string]string{{"key": "pool_mode", "value": c.mode}, {"key": "server_login_retry", "value": "15"}}
		got, err := readPooler(&inventory.Balancer{Databases: c.only}, config, databases)
		if err != nil || got.loginRetry != 15 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if d := cmp.Diff(c.want, got.sessions); d != "" {
			t.Errorf("%s: -want +got:\n%s", name, d)
		}
	}
	if _, err := readPooler(&inventory.Balancer{}, []map[string]string{{"key": "server_login_retry", "value": "x"}}, nil); err == nil {
		t.Error("no error of a time that is none")
	}
}
