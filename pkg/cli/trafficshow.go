package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func (a *app) trafficShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "What the balancers do with each standby", Args: cobra.NoArgs,
		Long: `Ask every balancer of the inventory what it does with each standby: whether it
sends new sessions there, and how many it has. One that cannot be read is named below
the table, with what to type; the others are shown all the same.

The exit code is 8 when a balancer could not be read, and 5 when none could.`,
		Example: `  pgrepctl traffic show
  pgrepctl traffic show -o json | jq '.balancers[].servers[] | select(.state != "serving")'`,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.showTraffic(cmd.Context()) },
	}
}

// trafficFormat names the JSON form of a trafficReport, with the same promise as
// status.Format.
const trafficFormat = "pgrepctl.traffic/v1"

// trafficReport is what every balancer does, in the inventory's order.
type trafficReport struct {
	Format    string         `json:"format"`
	Cluster   string         `json:"cluster"`
	Balancers []balancerRead `json:"balancers"`
}

// balancerRead is one balancer. With an Error the servers are those that could be read.
type balancerRead struct {
	Balancer string `json:"balancer"`
	Kind     string `json:"kind"`
	// Servers is empty for PgBouncer: it is in front of balancers, and knows no standby.
	Servers []balancedServer `json:"servers"`
	Error   string           `json:"error,omitempty"`
	Hint    string           `json:"hint,omitempty"`
}

type balancedServer struct {
	Host string `json:"host,omitempty"` // of the inventory; without one it is somebody else's
	facts.Balanced
}

func (a *app) showTraffic(ctx context.Context) error {
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	r := a.readTraffic(ctx, s)
	if err := context.Cause(ctx); fault.ClassOf(err) == fault.Interrupted {
		return err
	}
	if err := a.writeTraffic(r); err != nil {
		return err
	}
	return incomplete(r.Balancers, func(b balancerRead) bool { return b.Error != "" })
}

// readTraffic asks the balancers side by side: one that does not answer holds up nobody.
func (a *app) readTraffic(ctx context.Context, s *session) trafficReport {
	r := trafficReport{Format: trafficFormat, Cluster: s.inv.Name, Balancers: make([]balancerRead, len(s.inv.Traffic.Balancers))}
	var wg sync.WaitGroup
	for i, b := range s.inv.Traffic.Balancers {
		wg.Go(func() {
			out := balancerRead{Balancer: b.Name, Kind: b.Kind, Servers: []balancedServer{}}
			servers, err := a.balanced(ctx, s, b)
			out.Servers = append(out.Servers, servers...)
			if err != nil {
				out.Error = strings.ReplaceAll(strings.TrimPrefix(err.Error(), b.Name+": "), "\n", "; ")
				out.Hint = a.withInventory(balancerHint(s.inv, b, err))
			}
			r.Balancers[i] = out
		})
	}
	wg.Wait()
	return r
}

func (a *app) writeTraffic(r trafficReport) error {
	if a.set.Output() != "table" {
		return a.encode(r)
	}
	if len(r.Balancers) == 0 {
		_, err := fmt.Fprintln(a.Out, "the inventory names no balancer (traffic.balancers)")
		return err
	}
	var rows [][]ui.Cell
	for _, b := range r.Balancers {
		for _, x := range b.Servers {
			sessions := ""
			if x.Sessions >= 0 {
				sessions = strconv.Itoa(x.Sessions)
			}
			rows = append(rows, ui.Row(b.Balancer, b.Kind, x.Backend, x.Name, x.Host, string(x.State), x.Admin, sessions))
		}
		switch {
		case b.Error != "":
			row := ui.Row(b.Balancer, b.Kind, "", "", "", "not read", "", "")
			row[5].Style = ui.Bad
			rows = append(rows, row)
		case b.Kind == inventory.BalancerPgBouncer:
			rows = append(rows, ui.Row(b.Balancer, b.Kind, "", "", "", "in front", "", ""))
		}
	}
	header := []string{"BALANCER", "KIND", "BACKEND", "SERVER", "HOST", "STATE", "ADMIN", "SESSIONS"}
	if err := ui.Table(a.Out, header, rows, ui.TableOptions{Color: a.colorOn(a.Out)}); err != nil {
		return err
	}
	for _, b := range r.Balancers {
		if err := a.showNotes(a.Out, 0, b.Balancer, b.notes()); err != nil {
			return err
		}
	}
	return nil
}

// notes are what is wrong with a balancer.
func (b balancerRead) notes() []status.Note {
	var out []status.Note
	if b.Error != "" {
		out = append(out, status.Note{Severity: status.Problem, Text: b.Error, Hint: b.Hint})
	}
	var backends []string
	serves := map[string]bool{}
	for _, x := range b.Servers {
		if x.State == facts.NotListed {
			out = append(out, status.Note{Severity: status.Warning, Text: "it has no server " + x.Name + ", which is " + x.Host + " there by the inventory",
				Hint: "give " + x.Host + " its name there in the inventory (traffic: NAME, or BACKEND/SERVER), or traffic: none"})
			continue
		}
		if !slices.Contains(backends, x.Backend) {
			backends = append(backends, x.Backend)
		}
		serves[x.Backend] = serves[x.Backend] || x.State == facts.Serving
	}
	for _, name := range backends {
		if serves[name] || b.Error != "" {
			continue
		}
		text := "no server serves"
		if name != "" {
			text += " in backend " + name
		}
		out = append(out, status.Note{Severity: status.Problem, Text: text + ": new reads fail there",
			Hint: "of one that is down the balancer's check, and pgrepctl status, say why; one that is drained: pgrepctl traffic restore HOST"})
	}
	return out
}

// balancerHint is what to type about a balancer that could not be read.
func balancerHint(inv *inventory.Cluster, b *inventory.Balancer, err error) string {
	hint := ""
	walk(err, func(f *fault.Error) { hint = cmp.Or(hint, f.Hint) })
	if hint != "" {
		return hint
	}
	switch b.Kind {
	case inventory.BalancerHAProxy:
		return "does HAProxy run, and may its socket be opened? on " + b.Name + ": " + shell.Typed(b.OSUser, "ls", "-l", b.Socket) + "; then pgrepctl traffic show"
	case inventory.BalancerPgBouncer:
		return "does PgBouncer run, and let its console be used? on " + b.Name + ": " +
			shell.Typed(b.OSUser, "psql", "-h", b.SocketDirectory, "-p", strconv.Itoa(b.Port), "-U", b.ConsoleUser, "pgbouncer", "-c", "show version")
	case inventory.BalancerCommand:
		for _, h := range inv.Standbys() {
			_, name := b.Server(h)
			if line, err := shell.Quote(traffic.Command(b.Status, name)...); err == nil && name != "" {
				return "it has to print drained or serving; on " + b.Name + ", as " + cmp.Or(b.OSUser, "the user that logs in") + ": " + line
			}
		}
	}
	return "pgrepctl status"
}

// balanced is what one balancer does.
func (a *app) balanced(ctx context.Context, s *session, b *inventory.Balancer) ([]balancedServer, error) {
	switch b.Kind {
	case inventory.BalancerFile:
		return byHealthFile(lookForFile(ctx, s.conn.pool, s.inv.Standbys(), b.Path, a.bound))
	case inventory.BalancerPgBouncer:
		return nil, s.console(ctx, b.Name, a.bound(b.SSH))
	}
	h, err := s.facts(ctx, b.Name, a.bound(b.SSH))
	if err != nil {
		return nil, err
	}
	standby := map[string]*inventory.Host{}
	var out []balancedServer
	for _, x := range s.inv.Hosts {
		be, name := b.Server(x)
		standby[be+"/"+name] = x
		if name != "" && x.Role == inventory.Standby && h.Balances(be, name).State == facts.NotListed {
			out = append(out, balancedServer{Host: x.Name, Balanced: h.Balances(be, name)})
		}
	}
	var listed []balancedServer
	for _, x := range h.Balanced {
		name := ""
		if of := standby[x.Backend+"/"+x.Name]; of != nil {
			name = of.Name
		}
		listed = append(listed, balancedServer{Host: name, Balanced: x})
	}
	return append(listed, out...), nil
}

// console proves that PgBouncer's console answers: without it no drain is done.
func (s *session) console(ctx context.Context, name string, bound time.Duration) error {
	ctx, cancel := answering(ctx, bound)
	defer cancel()
	g, err := s.conn.Gatherer(ctx, name)
	if err != nil {
		return err
	}
	sql, err := g.SQL(ctx)
	if err != nil {
		return err
	}
	if c, ok := sql.(host.Console); ok {
		if _, err := c.Show(ctx, "SHOW VERSION"); err != nil {
			return fmt.Errorf("PgBouncer: SHOW VERSION: %w", err)
		}
	}
	return nil
}

// byHealthFile is what a health file does with the standbys that answer.
func byHealthFile(looks []fileLook) ([]balancedServer, error) {
	var out []balancedServer
	var failed []error
	for _, x := range looks {
		h, state := x.standby, facts.Serving
		if x.there {
			state = facts.Drained
		}
		switch {
		case x.silent != nil:
			failed = append(failed, x.silent)
		case x.err != nil:
			failed = append(failed, &fault.Error{Class: fault.ClassOf(x.err), Host: h.Name, Op: "look for " + x.file, Err: x.err})
		default:
			out = append(out, balancedServer{Host: h.Name, Balanced: facts.Balanced{Name: h.BalancedName(), State: state, Sessions: -1}})
		}
	}
	return out, errors.Join(failed...)
}
