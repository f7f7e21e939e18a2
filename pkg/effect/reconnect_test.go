package effect

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// pools is a console of PgBouncer that answers SHOW POOLS with one row after another.
type pools struct {
	host.SQL
	rows []map[string]string
	said []string
	none bool // no pool of any other database
}

func (p *pools) Show(_ context.Context, command string) ([]map[string]string, error) {
	p.said = append(p.said, command)
	now := p.rows[0]
	if len(p.rows) > 1 {
		p.rows = p.rows[1:]
	}
	if p.none {
		return []map[string]string{now}, nil
	}
	return []map[string]string{now, {"database": "other", "sv_login": "1", "cl_waiting": "9"}}, nil
}

func (p *pools) Exec(_ context.Context, command string) error {
	p.said = append(p.said, command)
	return nil
}

// TestReconnectQuotesTheNameOfADatabase: to PgBouncer's console shop-old is no word.
func TestReconnectQuotesTheNameOfADatabase(t *testing.T) {
	t.Parallel()
	for want, databases := range map[string][]string{
		"RECONNECT":                              nil,
		`RECONNECT "shop-old", RECONNECT "Shop"`: {"shop-old", "Shop"},
	} {
		p := &pools{rows: []map[string]string{{"database": "shop", "sv_login": "0", "cl_waiting": "0"}}}
		if len(databases) == 0 {
			p.none = true
		}
		if err := (&Reconnect{Host: "pool", Databases: databases}).reconnect(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		said := slices.DeleteFunc(p.said, func(c string) bool { return c == "SHOW POOLS" })
		if got := strings.Join(said, ", "); got != want {
			t.Errorf("said %s, want %s", got, want)
		}
	}
}

func TestReconnectWaitsUntilNoLoginIsInFlightAndNobodyWaitsForOne(t *testing.T) {
	p := &pools{rows: []map[string]string{
		{"database": "shop", "sv_login": "1", "cl_waiting": "3"},
		{"database": "shop", "sv_login": "0", "cl_waiting": "2"}, // the next login is about to begin
		{"database": "shop", "sv_login": "0", "cl_waiting": "0"}, // between two logins
		{"database": "shop", "sv_login": "1", "cl_waiting": "1"},
		{"database": "shop", "sv_login": "0", "cl_waiting": "0"},
	}}
	e := &Reconnect{Host: "pool", Databases: []string{"shop"}}
	if err := e.noLogin(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if want := slices.Repeat([]string{"SHOW POOLS"}, 7); !slices.Equal(p.said, want) {
		t.Errorf("asked %v", p.said)
	}
}
