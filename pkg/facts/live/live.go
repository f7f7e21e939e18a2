package live

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Gatherer reads the facts of one host. It keeps what does not change during a
// run. Gather and the methods of facts.Source are for one goroutine at a time;
// Database may be called from within open.
type Gatherer struct {
	h   host.Host
	inv *inventory.Host
	now func() time.Time

	mu      sync.Mutex
	machine *facts.Machine
	scan    *scan
	dialect dialect
	sizes   sizes
	own     host.SQL
}

var _ facts.Source = (*Gatherer)(nil)

// New returns a Gatherer of the host h, which the inventory calls inv.
func New(h host.Host, inv *inventory.Host) *Gatherer {
	return &Gatherer{h: h, inv: inv, now: time.Now}
}

// Gather reads the host. A server that does not run is a fact, not an error; a
// missing OS user is an error, because everything is read as that user.
func (g *Gatherer) Gather(ctx context.Context) (*facts.Host, error) {
	m, err := g.readMachine(ctx)
	if err != nil {
		return nil, fmt.Errorf("read machine of %s: %w", g.h.Name(), err)
	}
	if m.OSUser == "" {
		return nil, fault.Refuse(g.h.Name(), "install PostgreSQL there, or correct os_user in the inventory",
			fmt.Errorf("no OS user %s", g.inv.Postgres.OSUser))
	}
	s, err := g.rescan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read data directory of %s: %w", g.h.Name(), err)
	}
	out := facts.New(g.h.Name(), g)
	out.Machine, out.Data, out.Config, out.Runs, out.Service = s.complete(*m), s.data, s.config, s.runs, s.service
	out.Server, err = g.readServer(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("read server of %s: %w", g.h.Name(), err)
	}
	return out, nil
}

// Database says how to open a session on the host's server. The socket
// directory is the inventory's, else where the server says that it is, else
// where packages put it.
func (g *Gatherer) Database(ctx context.Context) (host.Database, error) {
	g.mu.Lock()
	s := g.scan
	g.mu.Unlock()
	if s == nil {
		var err error
		if s, err = g.rescan(ctx); err != nil {
			return host.Database{}, fmt.Errorf("find socket of %s: %w", g.h.Name(), err)
		}
	}
	pg := g.inv.Postgres
	return host.Database{As: pg.OSUser, SocketDir: s.socketDir, Port: pg.Port, User: pg.Superuser, Name: "postgres"}, nil
}

// Close ends the SQL session, if there is one. The next call opens another.
func (g *Gatherer) Close(ctx context.Context) error {
	g.mu.Lock()
	s := g.own
	g.own = nil
	g.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close(ctx)
}

// SQL is the one ordinary session on the host's server, opened again when it was
// lost. An sshd allows ten sessions a connection, so it is shared with the run.
func (g *Gatherer) SQL(ctx context.Context) (host.SQL, error) {
	g.mu.Lock()
	s := g.own
	g.mu.Unlock()
	if s != nil && !host.Lost(s) {
		return s, nil
	}
	db, err := g.Database(ctx)
	if err != nil {
		return nil, err
	}
	db.Application = "pgrepctl"
	if s, err = g.h.SQL(ctx, db); err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.own = s
	g.mu.Unlock()
	return s, nil
}

// readMachine asks once: what it reads does not change during a run.
func (g *Gatherer) readMachine(ctx context.Context) (*facts.Machine, error) {
	g.mu.Lock()
	m := g.machine
	g.mu.Unlock()
	if m != nil {
		return m, nil
	}
	before := g.now()
	rec, err := probe(ctx, g.h, "", machineScript, g.inv.Postgres.OSUser, g.inv.Postgres.DataDirectory)
	if err != nil {
		return nil, err
	}
	got, err := parseMachine(rec)
	if err != nil {
		return nil, err
	}
	if !got.Clock.IsZero() {
		got.Skew = got.Clock.Sub(before.Add(g.now().Sub(before) / 2))
	}
	got.HostKey = g.h.HostKey()
	if got.LoginUser == "" {
		got.LoginUser = g.h.User()
	}
	g.mu.Lock()
	g.machine = &got
	g.mu.Unlock()
	return &got, nil
}

const (
	// scans bounds the readings of what may be true for a moment only: a
	// control file that the server is rewriting, a postmaster that has
	// removed its postmaster.pid and is about to be gone.
	scans = 6
	// scanPause lets that postmaster go; it grows with each reading.
	scanPause = 50 * time.Millisecond
)

func (g *Gatherer) rescan(ctx context.Context) (*scan, error) {
	for try := 1; ; try++ {
		s, err := g.scanOnce(ctx)
		torn := errors.Is(err, errTorn)
		if err != nil && !torn {
			return nil, err
		}
		if try < scans && (torn || s.orphan) {
			if err := pause(ctx, time.Duration(try)*scanPause); err != nil {
				return nil, err
			}
			continue
		}
		g.mu.Lock()
		if g.scan != nil {
			s.binaries = g.scan.binaries
		}
		g.scan = s
		g.mu.Unlock()
		return s, nil
	}
}

func (g *Gatherer) scanOnce(ctx context.Context) (*scan, error) {
	pg, what := g.inv.Postgres, "libraries"
	g.mu.Lock()
	if g.scan != nil {
		what = "" // known, and slow to find out
	}
	g.mu.Unlock()
	rec, err := probe(ctx, g.h, pg.OSUser, scanScript,
		pg.DataDirectory, pg.ConfigDirectory, strconv.Itoa(pg.Port), pg.Version, pg.BinDirectory, pg.SocketDirectory, g.home(), what, unitOf(pg))
	if err != nil {
		return nil, err
	}
	return parseScan(rec, pg)
}

// home of the owner of the data directory, empty as long as it is not known.
func (g *Gatherer) home() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.machine == nil {
		return ""
	}
	return g.machine.OSUserHome
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
