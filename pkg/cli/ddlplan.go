package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// ddlPlan is how a file would be rolled out, for programs: what any preview says, and why
// it is done so.
type ddlPlan struct {
	ui.Preview
	Format   string     `json:"format"`
	File     string     `json:"file"`
	Database string     `json:"database"`
	Parts    []ddlRoute `json:"parts"`
	Warnings []string   `json:"warnings,omitempty"`
}

// ddlRoute is how one part is rolled out.
type ddlRoute struct {
	Part       int      `json:"part"` // from 1
	Statements []string `json:"statements"`
	Class      string   `json:"class"`
	Mode       ddl.Mode `json:"mode"`
	Why        string   `json:"why"`
	// First replay it without readers, Second are paused and serve meanwhile.
	First  []string `json:"first,omitempty"`
	Second []string `json:"second,omitempty"`
	// OneByOne: those of Second replay it one after the other.
	OneByOne bool `json:"one_by_one,omitempty"`
}

// ddlPlanFormat names the JSON form. A change that a reader of it could stumble over
// gets a new number.
const ddlPlanFormat = "pgrepctl.ddl-plan/v1"

func (a *app) encodeDeploy(s *session, d *deployment, whole *engine.Preview) error {
	out := ddlPlan{Preview: shown(s.inv, whole), Format: ddlPlanFormat, File: d.script.File, Database: d.o.database, Warnings: d.warnings}
	for i := d.o.from - 1; i < len(d.parts); i++ {
		p, r := d.parts[i], d.routes[i]
		out.Parts = append(out.Parts, ddlRoute{Part: i + 1, Statements: p.Texts(), Class: p.Class.String(), Mode: r.Mode, Why: r.Why, First: r.First, Second: r.Second, OneByOne: r.OneByOne})
	}
	return a.encode(out)
}

// noPrimary says why a balancer would not send reads to the primary; "" when all would.
func noPrimary(inv *inventory.Cluster, seen map[string]*facts.Host) string {
	p, asked := inv.Primary(), false
	for _, b := range inv.Traffic.Balancers {
		h := seen[b.Name]
		if h == nil || b.Kind == inventory.BalancerPgBouncer {
			continue
		}
		asked = true
		be, name := b.Server(p)
		if name == "" {
			return "the inventory has traffic: none for " + p.Name
		}
		switch now := h.Balances(be, name); {
		case now.State == facts.NotListed && b.Kind == inventory.BalancerHAProxy:
			return fmt.Sprintf(`backend %s of %s has no server %s: put "server %s %s:%d check backup" there (backup: it gets reads only while nobody else does), and reload HAProxy`, be, b.Name, name, name, p.Address, p.Postgres.Port)
		case now.State != facts.Serving:
			return fmt.Sprintf("%s has %s as %s", b.Name, name, now.State)
		}
	}
	if !asked {
		return "no balancer of the inventory knows servers"
	}
	return ""
}

// loginRetryLimit is what a pool may wait after a server did not let it in. A login in
// flight while connections are replaced looks like that, and fails all who wait.
const loginRetryLimit = 1

// poolers warns of a PgBouncer that would punish a failed login for long.
func (a *app) poolers(ctx context.Context, s *session, d *deployment) error {
	moves := false
	for _, r := range d.routes {
		moves = moves || r.Mode == ddl.Roll || r.Mode == ddl.ViaPrimary
	}
	for _, b := range s.inv.Traffic.Balancers {
		if b.Kind != inventory.BalancerPgBouncer || !moves {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, gatherTimeout+cmp.Or(a.set.ConnectTimeout(), b.SSH.ConnectTimeout))
		seconds, err := s.loginRetry(ctx, b)
		cancel()
		if err != nil {
			return &fault.Error{Class: fault.ClassOf(err), Host: b.Name, Op: "ask PgBouncer for its settings", Err: err}
		}
		if seconds > loginRetryLimit {
			d.warnings = append(d.warnings, fmt.Sprintf("%s: server_login_retry of PgBouncer is %g s: if a login fails while its connections are replaced, the whole pool waits for so long; set it to 0 or 1", b.Name, seconds))
		}
	}
	return nil
}

// loginRetry is the server_login_retry of a PgBouncer, in seconds.
func (s *session) loginRetry(ctx context.Context, b *inventory.Balancer) (float64, error) {
	g, err := s.conn.Gatherer(ctx, b.Name)
	if err != nil {
		return 0, err
	}
	sql, err := g.SQL(ctx)
	if err != nil {
		return 0, err
	}
	console, ok := sql.(host.Console)
	if !ok {
		return 0, nil
	}
	rows, err := console.Show(ctx, "SHOW CONFIG")
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r["key"] == "server_login_retry" {
			return strconv.ParseFloat(r["value"], 64)
		}
	}
	return 0, nil
}
