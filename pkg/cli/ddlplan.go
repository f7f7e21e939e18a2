package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
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

// loginRetryLimit is what a pool may wait after a server did not let it in. A login in
// flight while connections are replaced looks like that, and fails all who wait.
const loginRetryLimit = 1

// poolers warns of a PgBouncer that would punish a failed login for long, and of one whose
// clients keep their server for as long as they like.
func (a *app) poolers(ctx context.Context, s *session, d *deployment) error {
	moves := false
	for _, r := range d.routes {
		moves = moves || r.Mode == ddl.Roll || r.Mode == ddl.ViaPrimary
	}
	for _, b := range s.inv.Traffic.Balancers {
		if b.Kind != inventory.BalancerPgBouncer || !moves {
			continue
		}
		ctx, cancel := answering(ctx, a.bound(b.SSH))
		p, err := s.pooler(ctx, b)
		cancel()
		if err != nil {
			return &fault.Error{Class: fault.ClassOf(err), Host: b.Name, Op: "ask PgBouncer for its settings", Err: err}
		}
		if p.loginRetry > loginRetryLimit {
			d.warnings = append(d.warnings, fmt.Sprintf("%s: server_login_retry of PgBouncer is %g s: if a login fails while its connections are replaced, the whole pool waits for so long; set it to 0 or 1", b.Name, p.loginRetry))
		}
		if len(p.sessions) > 0 && !s.inv.Traffic.ClientsRetry {
			d.warnings = append(d.warnings, fmt.Sprintf("%s: pool_mode of PgBouncer is session for %s: a client keeps its server until it disconnects, and a drain waits for that; set it to transaction, or clients_retry: true in the inventory if clients read again on another connection",
				b.Name, strings.Join(p.sessions, ", ")))
		}
	}
	return nil
}

// pooler is what a rollout has to know of a PgBouncer.
type pooler struct {
	loginRetry float64  // its server_login_retry, in seconds
	sessions   []string // the databases whose pool_mode is session
}

// pooler asks for it on the console.
func (s *session) pooler(ctx context.Context, b *inventory.Balancer) (pooler, error) {
	g, err := s.conn.Gatherer(ctx, b.Name)
	if err != nil {
		return pooler{}, err
	}
	sql, err := g.SQL(ctx)
	if err != nil {
		return pooler{}, err
	}
	console, ok := sql.(host.Console)
	if !ok {
		return pooler{}, nil
	}
	config, err := console.Show(ctx, "SHOW CONFIG")
	if err != nil {
		return pooler{}, err
	}
	databases, err := console.Show(ctx, "SHOW DATABASES")
	if err != nil {
		return pooler{}, err
	}
	return readPooler(b, config, databases)
}

// readPooler reads its answers. A database without a pool_mode of its own has that of the
// configuration; pgbouncer is the console.
func readPooler(b *inventory.Balancer, config, databases []map[string]string) (pooler, error) {
	var p pooler
	mode := ""
	for _, r := range config {
		switch r["key"] {
		case "pool_mode":
			mode = r["value"]
		case "server_login_retry":
			seconds, err := strconv.ParseFloat(r["value"], 64)
			if err != nil {
				return p, fmt.Errorf("server_login_retry: %w", err)
			}
			p.loginRetry = seconds
		}
	}
	for _, r := range databases {
		name := r["name"]
		if name == "pgbouncer" || len(b.Databases) > 0 && !slices.Contains(b.Databases, name) {
			continue
		}
		if cmp.Or(r["pool_mode"], mode) == "session" {
			p.sessions = append(p.sessions, name)
		}
	}
	return p, nil
}
