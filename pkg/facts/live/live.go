package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Gatherer reads the facts of one host. It keeps what does not change during a
// run. Gather and the methods of facts.Source are for one goroutine at a time, but for
// RsyncServer; Database may be called from within open.
type Gatherer struct {
	h   host.Host
	inv *inventory.Host
	now func() time.Time

	mu      sync.Mutex
	machine *facts.Machine
	scan    *scan
	dialect dialect
	beat    dialect // of Pulse, which asks for no sizes
	sizes   sizes
	own     host.SQL
	spare   map[string]host.SQL // by database
	senders map[string][]string // see RsyncServer
}

var _ facts.Source = (*Gatherer)(nil)

// New returns a Gatherer of the host h, which the inventory calls inv.
func New(h host.Host, inv *inventory.Host) *Gatherer {
	return &Gatherer{h: h, inv: inv, now: time.Now}
}

// Gather reads the host. A server that does not run is a fact, not an error; a
// missing OS user is an error, because everything is read as that user.
func (g *Gatherer) Gather(ctx context.Context) (*facts.Host, error) {
	// Side by side: that a sender of rsync is let in takes a tenth of a second to find
	// out, whatever the host does else.
	var m *facts.Machine
	var err error
	var reading sync.WaitGroup
	reading.Go(func() { m, err = g.readMachine(ctx) })
	if g.first() && g.inv.SSH.BecomePassword.IsZero() {
		// Who reads all this reads files next: the process for them starts meanwhile. Not
		// where sudo asks: a wrong password would be given twice.
		reading.Go(func() { _, _ = g.h.Files(g.inv.Postgres.OSUser).ReadLink(ctx, g.inv.Postgres.DataDirectory) })
	}
	out, s, rest := g.gather(ctx, whole)
	reading.Wait()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read machine of %s: %w", g.h.Name(), err)
	case m.OSUser == "": // which is why the rest failed
		return nil, fault.Refuse(g.h.Name(), "install PostgreSQL there, or correct os_user in the inventory",
			fmt.Errorf("no OS user %s", g.inv.Postgres.OSUser))
	case rest != nil:
		return nil, rest
	}
	out.Machine = s.complete(*m)
	return out, nil
}

// first: nothing is known of the machine yet.
func (g *Gatherer) first() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.machine == nil
}

// reach says how much is read.
type reach string

const (
	whole  reach = "libraries" // what a plan may ask for
	glance reach = "glance"    // what changes
)

// gather reads all but the machine.
func (g *Gatherer) gather(ctx context.Context, r reach) (*facts.Host, *scan, error) {
	s, err := g.rescan(ctx, r)
	if err != nil {
		return nil, nil, fmt.Errorf("read data directory of %s: %w", g.h.Name(), err)
	}
	out := facts.New(g.h.Name(), g)
	out.Data, out.Config, out.Runs, out.Service = s.data, s.config, s.runs, s.service
	out.Server, err = g.readServer(ctx, s, r)
	if err != nil {
		return nil, nil, fmt.Errorf("read server of %s: %w", g.h.Name(), err)
	}
	if err := g.readPrimarySlot(ctx, out); err != nil {
		return nil, nil, fmt.Errorf("read primary_slot_name of %s: %w", g.h.Name(), err)
	}
	return out, s, nil
}

// Glance reads what changes of a host: its data directory and its server. Of the
// machine nothing is told but what the data directory's owner sees, and sizes are
// left out: the server would walk all its files for them.
func (g *Gatherer) Glance(ctx context.Context) (*facts.Host, error) {
	out, s, err := g.gather(ctx, glance)
	if err != nil {
		return nil, err
	}
	out.Machine = s.complete(facts.Machine{})
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
		if s, err = g.rescan(ctx, whole); err != nil {
			return host.Database{}, fmt.Errorf("find socket of %s: %w", g.h.Name(), err)
		}
	}
	pg := g.inv.Postgres
	return host.Database{As: pg.OSUser, SocketDir: s.socketDir, Port: pg.Port, User: pg.Superuser, Name: "postgres"}, nil
}

// Close ends all sessions that it has. The next call opens another.
func (g *Gatherer) Close(ctx context.Context) error {
	g.mu.Lock()
	all := slices.Collect(maps.Values(g.spare))
	if g.own != nil {
		all = append(all, g.own)
	}
	g.own, g.spare = nil, nil
	g.mu.Unlock()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Session opens a session of its own in a database of the server, or gives the one
// that was spared.
func (g *Gatherer) Session(ctx context.Context, database, application string) (host.SQL, error) {
	g.mu.Lock()
	s := g.spare[database]
	delete(g.spare, database)
	g.mu.Unlock()
	if s != nil {
		err := named(ctx, s, application)
		if err == nil {
			return s, nil
		}
		_ = s.Close(context.WithoutCancel(ctx)) // it was lost
		if ctx.Err() != nil {
			return nil, err
		}
	}
	db, err := g.Database(ctx)
	if err != nil {
		return nil, err
	}
	db.Name, db.Application = database, application
	return g.h.SQL(ctx, db)
}

// named gives a session that somebody else had to whom it is of now.
func named(ctx context.Context, s host.SQL, application string) error {
	name, err := postgres.QuoteLiteral(application)
	if err != nil {
		return err
	}
	return s.Exec(ctx, "set application_name = "+name)
}

// Spare keeps a session for the next Session in that database.
func (g *Gatherer) Spare(ctx context.Context, database string, s host.SQL) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spare[database] != nil || host.Lost(s) {
		_ = s.Close(context.WithoutCancel(ctx))
		return
	}
	if g.spare == nil {
		g.spare = map[string]host.SQL{}
	}
	g.spare[database] = s
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
	s, err := g.Session(ctx, "postgres", "pgrepctl")
	if err != nil {
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

func (g *Gatherer) rescan(ctx context.Context, r reach) (*scan, error) {
	for try := 1; ; try++ {
		s, err := g.scanOnce(ctx, r)
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
		if s.whole = s.binaries.dir != ""; !s.whole && g.scan != nil && g.scan.whole {
			s.binaries, s.whole = g.scan.binaries, true
		}
		g.scan = s
		g.mu.Unlock()
		return s, nil
	}
}

func (g *Gatherer) scanOnce(ctx context.Context, r reach) (*scan, error) {
	pg, what := g.inv.Postgres, r
	g.mu.Lock()
	if g.scan != nil && g.scan.whole {
		what = glance // the rest is known
	}
	g.mu.Unlock()
	rec, err := probe(ctx, g.h, pg.OSUser, scanScript,
		pg.DataDirectory, pg.ConfigDirectory, strconv.Itoa(pg.Port), fmt.Sprintf("%04X", pg.Port), pg.Version, pg.BinDirectory, pg.SocketDirectory, g.home(), string(what), unitOf(pg))
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
