package engine_test

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

func (m *machine) Name() string               { return m.name }
func (m *machine) User() string               { return "deploy" }
func (m *machine) HostKey() string            { return "ssh-ed25519 AAAAhost" + m.name }
func (m *machine) Files(as string) host.Files { return m.fs.Files(as) }

func (m *machine) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if len(c.Argv) > 4 && strings.HasPrefix(c.Argv[2], effect.Lowly) {
		c.Argv = c.Argv[4:] // of a shell that gives itself a low priority
	}
	if err := m.ask(ctx, c.String()); err != nil {
		return err
	}
	fail := func(code int, text string) error {
		return &host.ExitError{Host: m.name, Cmd: c, Code: code, Stderr: text + "\n"}
	}
	argv := slices.Clone(c.Argv)
	argv[0] = path.Base(argv[0])
	switch line := strings.Join(argv, " "); {
	case strings.HasPrefix(line, "postgres -D "), slices.Contains(argv, "pgrepctl-sync"), argv[0] == "sync":
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
	case slices.Contains(argv, "pgrepctl-leash"):
		return m.leash(ctx, c, stdio)
	case slices.Contains(argv, "pgrepctl-backup-switch"):
		return m.backupSwitch(ctx, c, stdio)
	case slices.Contains(argv, "pgrepctl-copy-schema"):
		return m.copySchema(argv)
	case strings.HasPrefix(line, "sh -c while stat -f "):
		_, err := io.WriteString(stdio.Out, "4096 1000000 900000\n")
		return err
	case slices.Contains(argv, "pgrepctl-reach"), slices.Contains(argv, "pgrepctl-mounts"):
		return nil
	case slices.Contains(argv, "pgrepctl-clock"):
		_, err := io.WriteString(stdio.Out, m.boot()+" 1700000000.5 1000.5 1000.5\n")
		return err
	case slices.Contains(argv, "pgrepctl-touch"):
		_, err := io.Copy(io.Discard, stdio.In)
		return err
	case argv[0] == "find" && slices.Contains(argv, "-newerct"):
		return nil
	case argv[0] == "du":
		_, err := io.WriteString(stdio.Out, "4096\t"+argv[len(argv)-1]+"\n")
		return err
	case argv[0] == "find" && slices.Contains(argv, "-printf"):
		m.fs.Walk(argv[1], func(p string, dir bool, data string) {
			if !dir {
				_, _ = fmt.Fprintf(stdio.Out, "%d %s\x00", len(data), strings.TrimPrefix(p, argv[1]+"/"))
			}
		})
		return nil
	case argv[0] == "rsync":
		return m.rsync(ctx, c, stdio, fail)
	case argv[0] == "pg_ctlcluster", argv[0] == "pg_ctl":
		if slices.Contains(argv, "start") {
			return m.start(fail)
		}
		if slices.Contains(argv, "stop") {
			return m.stop(fail)
		}
		if slices.Contains(argv, "restart") {
			return m.restart(fail)
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
	if m.name == "pg1" {
		return m.startAgain(fail)
	}
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
	case label != "" && label != m.w.backupLabel(m.copied):
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
		m.startReplay()
		m.fs.Put(m.data("postmaster.pid"), "postgres", 0o600, pidFile(200))
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
		m.running, m.recovery, m.replay.paused = false, false, false
		m.fs.Delete(m.data("postmaster.pid"))
		for _, s := range slices.Clone(m.w.sessions) {
			if s.m == m {
				s.end()
			}
		}
		if m.w.slots["pg2"] == "pg2" {
			m.w.slots["pg2"] = ""
		}
		if m.name == "pg1" {
			m.fs.Put(m.data("global/pg_control"), "postgres", 0o600, control(m.w.t, "15-stopped"))
		}
	})
}

// restart takes the configuration in; it ends all sessions, and stays what it was.
func (m *machine) restart(fail func(int, string) error) error {
	if !m.running {
		return fail(1, "no server running")
	}
	if m.recovery {
		var c postgres.Control
		m.replayed(&c)
		main, _ := m.fs.Get(m.conf("postgresql.conf"))
		for name, least := range map[string]int32{"max_connections": c.MaxConnections, "max_wal_senders": c.MaxWALSenders} {
			s, _ := conf.Parse([]byte(main)).Get(name)
			if n, err := strconv.Atoi(s.Value); err == nil && n < int(least) {
				m.w.t.Errorf("%s was restarted with %s = %d, and pg1 has %d", m.name, name, n, least)
			}
		}
	}
	return m.w.change(m.name+": restart", func() {
		for _, s := range slices.Clone(m.w.sessions) {
			if s.m == m {
				s.end()
			}
		}
		m.load()
		m.inForce = m.loaded["postgresql.conf"]
		if m.w.restarted != nil {
			m.w.restarted(m)
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
		if path.Dir(rel) == "/pg_tblspc" { // a link
			if !m.fs.Has(to + rel) {
				err = files.Symlink(ctx, data, to+rel)
			}
			return
		}
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
	if w.exclusive != nil {
		return w.exclusive.number
	}
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

// pidFile is the postmaster.pid of a server that takes sessions.
func pidFile(pid int) string {
	return fmt.Sprintf("%d\n/data\n1790000000\n5432\n/run\n*\n 1 2\nready   \n", pid)
}
