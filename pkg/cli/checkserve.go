package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/check/poll"
	"github.com/pgrepctl/pgrepctl/pkg/check/serve"
	"github.com/pgrepctl/pgrepctl/pkg/check/store"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
)

type serveFlags struct {
	listen   []string
	agents   []string
	interval time.Duration
	stale    int
}

func (a *app) serveCommand(f *checkFlags) *cobra.Command {
	var sf serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer load balancers and monitoring: HTTP checks, HAProxy's agent-check, metrics",
		Long: `Look at every host of the inventory at an interval, over one SSH connection each, and
answer from what is known. An answer never waits for a host. What is older than --stale
intervals counts for nothing: such a host is out.

HTTP, by the paths of Patroni's REST API: /HOST/primary, /replica, /read-only,
/synchronous, /read-only-sync, /quorum, /read-only-quorum, /asynchronous, /health and
/readiness answer 200 or 503 with a small JSON body; ?lag=16MB or ?lag=10s sets a limit of
one's own, which is remembered too. The host may be in the header Host instead of the
path. OPTIONS or HEAD of /HOST or / asks for /primary. By GET /HOST is all that is known
of it and / the list, with 200 always. /liveness and /readiness are about this process,
/metrics is for Prometheus.

--agent-listen answers HAProxy's agent-check: up with a weight (0 drains), down or maint.
An ADDRESS answers about the host that HAProxy names (agent-send "pg2\n"), HOST=ADDRESS
always about that host.

There is no login and no TLS, so the default is the loopback address. Ends with 0 on
SIGTERM or Ctrl-C. docs/check.md has the configuration of HAProxy.`,
		Example: `  pgrepctl check serve
  pgrepctl check serve --listen 127.0.0.1:8008 --agent-listen 127.0.0.1:8009
  pgrepctl check serve --agent-listen pg2=127.0.0.1:8012 --agent-listen pg3=127.0.0.1:8013
  pgrepctl check serve --interval 1s --max-lag 128MB --hold-down 1m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), *f, sf) },
	}
	cmd.Flags().StringSliceVar(&sf.listen, "listen", []string{"127.0.0.1:8008"}, "`ADDRESS` of the HTTP server (repeatable)")
	cmd.Flags().StringSliceVar(&sf.agents, "agent-listen", nil, "`ADDRESS` or HOST=ADDRESS for HAProxy's agent-check (repeatable)")
	cmd.Flags().DurationVar(&sf.interval, "interval", 2*time.Second, "from one look at a host to the next")
	cmd.Flags().IntVar(&sf.stale, "stale", 3, "`N` intervals after which a look counts for nothing")
	return cmd
}

// minInterval keeps a slip of the hand from keeping servers busy.
const minInterval = 100 * time.Millisecond

func (a *app) serve(ctx context.Context, f checkFlags, sf serveFlags) error {
	p, err := a.policy("check serve")
	if err != nil {
		return err
	}
	if sf.interval < minInterval || sf.stale < 1 {
		return &fault.Error{Class: fault.Usage, Err: fmt.Errorf("want --interval of at least %s and --stale of at least 1", minInterval), Hint: "pgrepctl check serve --help"}
	}
	p.Grace = time.Duration(sf.stale) * sf.interval
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	path, err := memoryPath(s, f.memory, "serve")
	if err != nil {
		return err
	}
	ends, err := listen(s.inv, sf)
	if err != nil {
		return err
	}
	defer ends.close()
	opening, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	file, err := store.Open(opening, path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	mem, err := file.Read(s.inv.Name, time.Now())
	if err != nil {
		a.complain(err, "begins anew")
	}
	o := serve.Options{Cluster: s.inv.Name, Interval: sf.interval, Stale: sf.stale, Textfile: f.textfile, Memory: file, Now: time.Now, Say: a.logger()}
	pool := a.watchPool(s.inv)
	defer func() { _ = pool.Close() }()
	for _, h := range s.inv.Hosts {
		o.Timeout = max(o.Timeout, cmp.Or(a.set.ConnectTimeout(), h.SSH.ConnectTimeout))
		o.Lookers = append(o.Lookers, poll.New(pool, s.inv.Name, h, time.Now))
	}
	// A query on a host that is frozen ends with its connection.
	drop := func() { _ = pool.Close() }
	return a.serveAll(ctx, serve.New(check.NewBoard(check.Members(s.inv), p, mem), p, o), ends, o, drop)
}

// dropAfter is how long sessions may take to end in good order.
const dropAfter = time.Second

// watchPool may dial all hosts at once: dead ones must not keep it from the others.
func (a *app) watchPool(inv *inventory.Cluster) *remote.Pool {
	var targets []remote.Target
	for _, h := range inv.Hosts {
		targets = append(targets, a.target(h.Name, h.Address, h.SSH))
	}
	return remote.NewPool(targets, remote.WithEvents(event.Discard{}), remote.WithDials(len(targets)))
}

// endpoints are what is listened on.
type endpoints struct {
	http   []net.Listener
	agents []agentEnd
}

type agentEnd struct {
	net.Listener
	host string // empty: HAProxy says which
}

func (e *endpoints) close() {
	for _, l := range e.http {
		_ = l.Close()
	}
	for _, l := range e.agents {
		_ = l.Close()
	}
}

func listen(inv *inventory.Cluster, f serveFlags) (*endpoints, error) {
	e := &endpoints{}
	on := func(flag, address string) (net.Listener, error) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			e.close()
			return nil, &fault.Error{Op: flag + " " + address, Err: err, Hint: "another process may listen there: ss -ltnp"}
		}
		return l, nil
	}
	for _, address := range f.listen {
		l, err := on("--listen", address)
		if err != nil {
			return nil, err
		}
		e.http = append(e.http, l)
	}
	for _, text := range f.agents {
		name, address, ok := strings.Cut(text, "=")
		if !ok {
			name, address = "", text
		} else if _, err := hostsNamed(inv, []string{name}); err != nil {
			e.close()
			return nil, err
		}
		l, err := on("--agent-listen", address)
		if err != nil {
			return nil, err
		}
		e.agents = append(e.agents, agentEnd{l, name})
	}
	return e, nil
}

// serveAll serves until the first Ctrl-C or SIGTERM, which is how it is meant to
// end, or until a part of it fails.
func (a *app) serveAll(ctx context.Context, srv *serve.Server, e *endpoints, o serve.Options, drop func()) error {
	a.acting.Store(true) // Stop is ours
	for _, l := range e.http {
		o.Say(o.Now(), "", "HTTP on "+l.Addr().String())
	}
	for _, l := range e.agents {
		o.Say(o.Now(), l.host, "agent-check on "+l.Addr().String())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	h := srv.NewHTTP()
	for _, l := range e.http {
		g.Go(func() error {
			if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve HTTP: %w", err)
			}
			return nil
		})
	}
	for _, l := range e.agents {
		g.Go(func() error { return srv.ServeAgent(ctx, l, l.host) })
	}
	g.Go(func() error { return srv.Run(ctx) })
	g.Go(func() error {
		select {
		case <-a.Stop:
			o.Say(o.Now(), "", "stopped")
		case <-ctx.Done():
		}
		cancel()
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if err := h.Shutdown(closing); err != nil {
			return h.Close()
		}
		return nil
	})
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		<-ctx.Done()
		select {
		case <-ended:
		case <-time.After(dropAfter):
			drop()
		}
	}()
	return g.Wait()
}

// logger writes a line for each change: for the journal of systemd, or as JSON.
func (a *app) logger() func(time.Time, string, string) {
	var mu sync.Mutex
	return func(at time.Time, host, text string) {
		mu.Lock()
		defer mu.Unlock()
		if a.set.Output() == "json" {
			b, err := json.Marshal(map[string]string{"at": at.UTC().Format(time.RFC3339Nano), "host": host, "text": text})
			if err == nil {
				_, _ = fmt.Fprintf(a.Err, "%s\n", b)
			}
			return
		}
		if host != "" {
			host += " "
		}
		_, _ = fmt.Fprintf(a.Err, "%s %s%s\n", at.UTC().Format("2006-01-02T15:04:05.000Z"), host, strings.Join(strings.Fields(text), " "))
	}
}
