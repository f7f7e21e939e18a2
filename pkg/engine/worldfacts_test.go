package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// gatherer reads the facts off the world.
type gatherer struct{ m *machine }

func (w *world) Gatherer(_ context.Context, name string) (engine.Gatherer, error) {
	if b, ok := w.inv.Balancer(name); ok {
		return live.NewBalancer(w.hosts[name], b, w.inv), nil
	}
	return gatherer{w.hosts[name]}, nil
}

func (g gatherer) Database(context.Context) (host.Database, error) {
	return host.Database{As: "postgres", SocketDir: "/run/postgresql", Port: 5432}, nil
}

func (g gatherer) SQL(ctx context.Context) (host.SQL, error) {
	if s := g.m.own; s != nil {
		select {
		case <-s.Lost():
		default:
			return s, nil
		}
	}
	var err error
	g.m.own, err = g.m.SQL(ctx, host.Database{})
	return g.m.own, err
}

func (g gatherer) Session(ctx context.Context, database, application string) (host.SQL, error) {
	return g.m.SQL(ctx, host.Database{As: "postgres", SocketDir: "/run/postgresql", Port: 5432, Name: database, Application: application})
}

func (g gatherer) Spare(ctx context.Context, _ string, s host.SQL) { _ = s.Close(ctx) }

func (g gatherer) Close(ctx context.Context) error {
	s := g.m.own
	g.m.own = nil
	if s == nil {
		return nil
	}
	return s.Close(ctx)
}

func (g gatherer) Gather(ctx context.Context) (*facts.Host, error) {
	m := g.m
	if err := m.ask(ctx, "gather"); err != nil {
		return nil, err
	}
	h := facts.New(m.name, g)
	h.Runs = m.runs()
	h.Machine = facts.Machine{LoginUser: "deploy", LoginHome: "/home/deploy", OSUser: "postgres", OSUserHome: "/var/lib/postgresql", AES: true,
		BinDirectory: "/usr/lib/postgresql/15/bin", HostKey: m.HostKey(), TmpFS: "/dev/shm", RsyncVersion: "3.4.1", RsyncZstd: true, BinVersion: m.version(), FreeBytes: 1 << 40, TotalBytes: 1 << 41, SocketDir: "/run/postgresql",
		UID: 26, MachineID: m.name, BootID: m.boot(), Arch: "x86_64", Glibc: "2.36", Cores: 2, PortInUse: m.running, Tools: map[string]string{}}
	for _, tool := range []string{"perl", "find", "sync", "rsync", "ssh", "sh", "tail", "flock", "sftp-server", "psql", "pg_dump"} {
		h.Machine.Tools[tool] = "/usr/bin/" + tool
	}
	h.Config = facts.ConfigDir{HasConfig: m.fs.Has(m.conf("postgresql.conf"))}
	if err := m.readData(&h.Data); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.running {
		h.Server = m.server()
		h.Data.PID = 100
	}
	return h, nil
}

// boot is the id of the boot in which it is.
func (m *machine) boot() string { return fmt.Sprintf("%s-%d", m.name, m.boots) }

func (m *machine) readData(d *facts.DataDir) error {
	d.Path, d.State = m.data(""), facts.Empty
	if !m.fs.Has(d.Path) {
		d.State = facts.Absent
	}
	m.fs.Walk(d.Path, func(p string, _ bool, _ string) {
		if path.Dir(p) == d.Path {
			d.Sample = append(d.Sample, path.Base(p))
			d.State = facts.Foreign
		}
	})
	for _, name := range d.Sample {
		switch name {
		case postgres.RunMarker, "standby.signal", "postgresql.auto.conf":
		default:
			d.HasData = true
		}
	}
	d.Standby = m.fs.Has(m.data("standby.signal"))
	if marker, ok := m.fs.Get(m.data(postgres.RunMarker)); ok {
		d.State = facts.Partial
		return json.Unmarshal([]byte(marker), &d.Marker)
	}
	if control, ok := m.fs.Get(m.data("global/pg_control")); ok {
		c, err := postgres.ParseControl([]byte(control))
		d.State, d.Control = facts.Cluster, c
		m.replayed(&d.Control)
		return err
	}
	return nil
}

// replayed is what a standby has taken over from its primary: everything.
func (m *machine) replayed(c *postgres.Control) {
	of := func(name string) int32 {
		all, _ := gatherer{m.w.hosts["pg1"]}.Settings(context.Background())
		n, err := all[name].Int()
		if err != nil {
			m.w.t.Error(err)
		}
		return int32(n)
	}
	c.MaxConnections, c.MaxWALSenders, c.MaxWorkerProcesses = of("max_connections"), of("max_wal_senders"), of("max_worker_processes")
	c.MaxPreparedTransactions, c.MaxLocksPerTransaction = of("max_prepared_transactions"), of("max_locks_per_transaction")
}

func (m *machine) server() facts.Server {
	s := facts.Server{Running: true, Version: m.version(), InRecovery: m.recovery, SystemID: systemID, Timeline: m.timeline(), DataDirectory: m.data(""),
		ConfigFile: m.conf("postgresql.conf"), SizeBytes: 1 << 20, HBAFile: m.conf("pg_hba.conf"), SSL: true}
	if m.name == "pg1" && m.w.holder != "" {
		s.Lock = &facts.LockHolder{Application: m.w.holder}
	}
	if m.name == "pg2" {
		m.tellReplay(&s)
	}
	if m.name == "pg1" {
		s.LSN = m.w.end()
		for name, user := range m.w.slots {
			status := "reserved"
			if m.w.lost[name] {
				status = "lost"
			}
			s.SetSlot(facts.Slot{Name: name, Type: "physical", Active: user != "", Client: user, WALStatus: status, RestartLSN: m.w.keeps})
		}
		if m.w.streams() {
			s.Senders = []facts.Sender{{Application: "pg2", State: "streaming"}}
		}
		s.Tablespaces = slices.Clone(m.w.spaces)
		if m.w.layout.exclusive {
			m.w.asOld(&s)
		}
	}
	return s
}

func (g gatherer) File(ctx context.Context, as, p string) (host.File, error) {
	if err := g.m.ask(ctx, "read "+p); err != nil {
		return host.File{}, err
	}
	return g.m.fs.Files(as).Read(ctx, p)
}

func (g gatherer) List(ctx context.Context, as, dir string) ([]host.Entry, error) {
	return g.m.fs.Files(as).List(ctx, dir)
}

func (g gatherer) ReadLink(ctx context.Context, as, p string) (string, error) {
	return g.m.fs.Files(as).ReadLink(ctx, p)
}

func (g gatherer) Space(_ context.Context, _ string, dirs []string) ([]facts.Space, error) {
	var out []facts.Space
	for _, d := range dirs {
		out = append(out, facts.Space{Path: d, Exists: g.m.fs.Has(d)})
	}
	return out, nil
}

func (g gatherer) Access(_ context.Context, _ string, dirs []string) ([]facts.Access, error) {
	var out []facts.Access
	for _, d := range dirs {
		is := g.m.fs.Has(d)
		out = append(out, facts.Access{Path: d, Exists: is, Read: is, Write: is, Make: true})
	}
	return out, nil
}

func (g gatherer) Settings(context.Context) (postgres.Settings, error) {
	text := g.m.loaded["postgresql.conf"]
	var rows []postgres.Setting
	for _, s := range []postgres.Setting{
		{Name: "max_connections", BootValue: "100", Vartype: "integer", Context: "postmaster"},
		{Name: "max_locks_per_transaction", BootValue: "64", Vartype: "integer", Context: "postmaster"},
		{Name: "max_prepared_transactions", BootValue: "0", Vartype: "integer", Context: "postmaster"},
		{Name: "max_replication_slots", BootValue: "10", Vartype: "integer", Context: "postmaster"},
		{Name: "max_slot_wal_keep_size", BootValue: "-1", Unit: "MB", Vartype: "integer", Context: "sighup"},
		{Name: "max_wal_senders", BootValue: "10", Vartype: "integer", Context: "postmaster"},
		{Name: "max_worker_processes", BootValue: "8", Vartype: "integer", Context: "postmaster"},
		{Name: "wal_keep_size", BootValue: "0", Unit: "MB", Vartype: "integer", Context: "sighup"},
		{Name: "wal_level", BootValue: "replica", Vartype: "enum", Context: "postmaster"},
		{Name: "synchronous_standby_names", BootValue: "", Vartype: "string", Context: "sighup"},
	} {
		s.Value, s.Source = s.BootValue, "default"
		if x, ok := conf.Parse([]byte(text)).Get(s.Name); ok {
			s.Value, s.Source = strings.TrimSuffix(x.Value, "MB"), "configuration file"
		}
		// ALTER SYSTEM's file is read last.
		if x, ok := conf.Parse([]byte(g.m.loaded["postgresql.auto.conf"])).Get(s.Name); ok {
			s.Value, s.Source = x.Value, "configuration file"
		}
		rows = append(rows, s)
	}
	return postgres.NewSettings(append(rows, g.m.recoverySettings()...)), nil
}

func (g gatherer) Role(_ context.Context, name string) (facts.Role, error) {
	g.m.w.mu.Lock()
	defer g.m.w.mu.Unlock()
	v, ok := g.m.w.roles[name]
	if !ok {
		return facts.Role{Name: name}, nil
	}
	return facts.Role{Name: name, Exists: true, Login: true, Replication: true, Verifier: secret.New(v)}, nil
}

func (g gatherer) SetFor(context.Context, string) ([]facts.SetFor, error) { return nil, nil }

func (g gatherer) ConfigErrors(context.Context) ([]facts.ConfigError, error) { return nil, nil }

func (g gatherer) RsyncServer(_ context.Context, flags []string, p string) ([]string, error) {
	return append(append([]string{"rsync", "--server", "--sender"}, flags...), ".", p), nil
}

func (g gatherer) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	return g.m.ReplicationLogin(ctx, l)
}
