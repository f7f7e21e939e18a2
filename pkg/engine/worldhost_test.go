package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

func (m *machine) Name() string               { return m.name }
func (m *machine) User() string               { return "deploy" }
func (m *machine) HostKey() string            { return "ssh-ed25519 AAAAhost" + m.name }
func (m *machine) Files(as string) host.Files { return m.fs.Files(as) }

func (m *machine) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if err := m.ask(ctx, c.String()); err != nil {
		return err
	}
	fail := func(code int, text string) error {
		return &host.ExitError{Host: m.name, Cmd: c, Code: code, Stderr: text + "\n"}
	}
	argv := slices.Clone(c.Argv)
	argv[0] = path.Base(argv[0])
	switch line := strings.Join(argv, " "); {
	case strings.HasPrefix(line, "postgres -D "), strings.HasPrefix(line, "initdb --sync-only"), argv[0] == "sync":
		return nil
	case argv[0] == "sh" && slices.Contains(argv, "/var/log/postgresql/postgresql-15-main.log"), argv[0] == "sh" && slices.Contains(argv, "/var/lib/postgresql/.pgrepctl/pg2.log"):
		return nil // nothing severe in the log
	case argv[0] == "tail":
		_, err := io.WriteString(stdio.Out, "LOG:  hello\n")
		return err
	case argv[0] == "find" && argv[len(argv)-1] == "-delete":
		return m.deleteBelow(ctx, argv[2])
	case strings.HasPrefix(line, "sh -s -- ") && path.Base(path.Dir(argv[len(argv)-1])) == ".pgrepctl":
		return m.keepJournal(ctx, c, stdio)
	case argv[len(argv)-1] == "pgrepctl-deadman":
		return m.deadMan(ctx, c, stdio)
	case strings.HasPrefix(line, "sh -c while stat -f "):
		_, err := io.WriteString(stdio.Out, "4096 1000000 900000\n")
		return err
	case argv[0] == "rsync":
		return m.rsync(ctx, c, stdio, fail)
	case argv[0] == "pg_ctlcluster", argv[0] == "pg_ctl":
		if slices.Contains(argv, "start") {
			return m.start(fail)
		}
		if slices.Contains(argv, "stop") {
			return m.stop(fail)
		}
	}
	m.w.t.Errorf("%s was asked to run: %s", m.name, c)
	return fail(127, "not modelled")
}

func (m *machine) deleteBelow(ctx context.Context, dir string) error {
	var names []string
	m.fs.Walk(dir, func(p string, _ bool, _ string) { names = append(names, p) })
	for _, p := range slices.Backward(names) {
		if err := m.fs.Files("postgres").Remove(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// start does what a server does: it needs the files of a finished copy, takes
// the label away and connects to its upstream.
func (m *machine) start(fail func(int, string) error) error {
	label, _ := m.fs.Get(m.data("backup_label"))
	auto, _ := m.fs.Get(m.data("postgresql.auto.conf"))
	main, _ := m.fs.Get(m.conf("postgresql.conf"))
	switch {
	case m.running:
		return fail(1, "another server might be running")
	case !m.fs.Has(m.data("global/pg_control")):
		return fail(1, "could not open control file")
	case m.fs.Has(m.data(postgres.RunMarker)):
		m.w.t.Error("a server was started on an unfinished copy")
	case !m.fs.Has(m.data("standby.signal")):
		m.w.t.Error("the copy was started as a primary")
	case label != "" && label != fmt.Sprintf("LABEL: backup %d\n", m.copied):
		m.w.t.Errorf("the data are of backup %d, the label says %q", m.copied, label)
	case label == "" && !m.fs.Has(m.data("backup_label.old")):
		m.w.t.Error("a copy was started without backup_label")
	case len(m.w.spaces) > 0 && label != "" && !m.fs.Has(m.data("tablespace_map")):
		m.w.t.Error("a copy was started without tablespace_map")
	}
	for _, d := range m.version().RequiredDirs() {
		if !m.fs.Has(m.data(d)) {
			return fail(1, "missing directory "+d)
		}
	}
	if s, ok := conf.Parse([]byte(main)).Get("max_connections"); !ok || s.Value != "200" {
		return fail(1, "recovery aborted because of insufficient parameter settings")
	}
	info, ok := conf.Parse([]byte(auto)).Get("primary_conninfo")
	if !ok || !strings.Contains(info.Value, "application_name=pg2") {
		return fail(1, "no primary_conninfo")
	}
	pass, _ := m.fs.Get("/var/lib/postgresql/.pgrepctl/shop.pgpass")
	return m.w.change(m.name+": start", func() {
		m.running, m.recovery = true, true
		m.load()
		m.fs.Put(m.data("postmaster.pid"), "postgres", 0o600, "200\n")
		if label != "" {
			m.fs.Delete(m.data("backup_label"))
			m.fs.Put(m.data("backup_label.old"), "postgres", 0o600, label)
		}
		if _, ok := m.w.slots["pg2"]; ok && strings.Contains(pass, canary) {
			m.w.slots["pg2"] = "pg2"
		}
	})
}

func (m *machine) stop(fail func(int, string) error) error {
	if !m.running {
		return fail(1, "no server running")
	}
	return m.w.change(m.name+": stop", func() {
		m.running, m.recovery = false, false
		m.fs.Delete(m.data("postmaster.pid"))
		for _, s := range slices.Clone(m.w.sessions) {
			if s.m == m {
				s.end()
			}
		}
		if m.w.slots["pg2"] == "pg2" {
			m.w.slots["pg2"] = ""
		}
	})
}

// rsync copies what the filters leave, with the key that the source admits,
// while a backup is in progress there.
func (m *machine) rsync(ctx context.Context, c host.Cmd, stdio host.Stdio, fail func(int, string) error) error {
	if !c.Leash {
		m.w.t.Error("rsync runs without a leash")
	}
	up := m.w.hosts["pg1"]
	from, to := c.Argv[len(c.Argv)-2], strings.TrimSuffix(c.Argv[len(c.Argv)-1], "/")
	source := strings.TrimSuffix(strings.TrimPrefix(from, up.inv.Address+":"), "/")
	if !m.admitted(c.Argv) {
		return fail(255, "Permission denied (publickey)")
	}
	backup := m.w.backup()
	if backup == 0 {
		m.w.t.Error("rsync runs outside a backup")
	}
	m.copied = backup
	var excludes []string
	for _, a := range c.Argv {
		if x, ok := strings.CutPrefix(a, "--exclude="); ok {
			excludes = append(excludes, x)
		}
	}
	keep := map[string]bool{}
	var n int
	var err error
	files := m.fs.Files("postgres")
	up.fs.Walk(source, func(p string, dir bool, data string) {
		rel := strings.TrimPrefix(p, source)
		if err != nil || excluded(rel, excludes) {
			return
		}
		keep[to+rel] = true
		if dir {
			err = files.Mkdir(ctx, to+rel, 0o700)
			return
		}
		n += len(data)
		err = files.Write(ctx, host.File{Path: to + rel, Data: []byte(data), Mode: 0o600, UID: -1, GID: -1}, nil)
		_, _ = fmt.Fprintf(stdio.Out, "%d  50%%  1.0MB/s  0:00:01\r", n)
	})
	if err != nil {
		return err
	}
	var stale []string
	m.fs.Walk(to, func(p string, dir bool, _ string) {
		if !keep[p] && !dir && !excluded(strings.TrimPrefix(p, to), excludes) {
			stale = append(stale, p)
		}
	})
	for _, p := range stale {
		if err := files.Remove(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) backup() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sessions {
		if s.backup > 0 {
			return s.backup
		}
	}
	return 0
}

// admitted reports whether the private key that -i names belongs to a line of
// the source's authorized_keys.
func (m *machine) admitted(argv []string) bool {
	_, rest, _ := strings.Cut(strings.Join(argv, " "), " -i ")
	file, _, _ := strings.Cut(rest, " ")
	private, ok := m.fs.Get(file)
	authorized, _ := m.w.hosts["pg1"].fs.Get("/home/deploy/.ssh/authorized_keys")
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for public, p := range m.w.keys {
		if ok && p == private && strings.Contains(authorized, public+" ") {
			return true
		}
	}
	return false
}

func excluded(rel string, patterns []string) bool {
	for _, p := range patterns {
		if !strings.HasPrefix(p, "/") {
			if ok, _ := path.Match(p, path.Base(rel)); ok {
				return true
			}
			continue
		}
		for at := rel; at != "/" && at != "."; at = path.Dir(at) {
			if ok, _ := path.Match(p, at); ok {
				return true
			}
		}
	}
	return false
}

// gatherer reads the facts off the world.
type gatherer struct{ m *machine }

func (w *world) Gatherer(_ context.Context, name string) (engine.Gatherer, error) {
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
		BinDirectory: "/usr/lib/postgresql/15/bin", HostKey: m.HostKey(), TmpFS: "/dev/shm", RsyncVersion: "3.4.1", BinVersion: m.version(), FreeBytes: 1 << 40, TotalBytes: 1 << 41, SocketDir: "/run/postgresql",
		UID: 26, MachineID: m.name, BootID: m.name, Arch: "x86_64", Glibc: "2.36", Cores: 2, PortInUse: m.running, Tools: map[string]string{}}
	for _, tool := range []string{"perl", "find", "sync", "rsync", "ssh", "sh", "tail", "flock", "sftp-server"} {
		h.Machine.Tools[tool] = "/usr/bin/" + tool
	}
	h.Config = facts.ConfigDir{Path: m.inv.Postgres.ConfigDirectory, Exists: true, HasConfig: m.fs.Has(m.conf("postgresql.conf")), HasHBA: m.fs.Has(m.conf("pg_hba.conf"))}
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

func (m *machine) readData(d *facts.DataDir) error {
	d.Path, d.State = m.data(""), facts.Empty
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
	d.HasConfig = m.fs.Has(m.data("postgresql.conf"))
	if marker, ok := m.fs.Get(m.data(postgres.RunMarker)); ok {
		d.State = facts.Partial
		return json.Unmarshal([]byte(marker), &d.Marker)
	}
	if control, ok := m.fs.Get(m.data("global/pg_control")); ok {
		c, err := postgres.ParseControl([]byte(control))
		d.State, d.Control = facts.Cluster, c
		return err
	}
	return nil
}

func (m *machine) server() facts.Server {
	s := facts.Server{Running: true, Version: m.version(), InRecovery: m.recovery, SystemID: systemID, Timeline: 1, DataDirectory: m.data(""),
		ConfigFile: m.conf("postgresql.conf"), SizeBytes: 1 << 20, HBAFile: m.conf("pg_hba.conf"), SSL: true}
	if m.name == "pg1" && m.w.holder != "" {
		s.Lock = &facts.LockHolder{Application: m.w.holder}
	}
	if m.name == "pg1" {
		for name, user := range m.w.slots {
			s.SetSlot(facts.Slot{Name: name, Type: "physical", Active: user != "", Client: user, WALStatus: "reserved", RestartLSN: m.w.keeps})
		}
		if m.w.hosts["pg2"].running {
			s.Senders = []facts.Sender{{Application: "pg2", State: "streaming"}}
		}
		s.Tablespaces = slices.Clone(m.w.spaces)
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

func (g gatherer) Space(_ context.Context, _ string, dirs []string) ([]facts.Space, error) {
	var out []facts.Space
	for _, d := range dirs {
		out = append(out, facts.Space{Path: d, Exists: g.m.fs.Has(d)})
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
		{Name: "max_wal_senders", BootValue: "10", Vartype: "integer", Context: "postmaster"},
		{Name: "max_worker_processes", BootValue: "8", Vartype: "integer", Context: "postmaster"},
		{Name: "wal_keep_size", BootValue: "0", Unit: "MB", Vartype: "integer", Context: "sighup"},
		{Name: "wal_level", BootValue: "replica", Vartype: "enum", Context: "postmaster"},
	} {
		s.Value, s.Source = s.BootValue, "default"
		if x, ok := conf.Parse([]byte(text)).Get(s.Name); ok {
			s.Value, s.Source = strings.TrimSuffix(x.Value, "MB"), "configuration file"
		}
		rows = append(rows, s)
	}
	return postgres.NewSettings(rows), nil
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

func (g gatherer) ConfigErrors(context.Context) ([]facts.ConfigError, error) { return nil, nil }

func (g gatherer) RsyncServer(_ context.Context, flags []string, p string) ([]string, error) {
	return append(append([]string{"rsync", "--server", "--sender"}, flags...), ".", p), nil
}

func (g gatherer) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	return g.m.ReplicationLogin(ctx, l)
}
