package engine_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/templates"
)

const (
	systemID     = "7710845818950439207"
	canary       = "canary-password"
	canaryKey    = "canary-private-key"
	operatorName = "anna@desk"
)

// errDead is what everything answers once the tool is dead: nothing that it
// still does reaches a host.
var errDead = errors.New("the tool is dead")

// layout is one shape of cluster.
type layout struct {
	name string
	// configInData: postgresql.conf lies in the data directory.
	configInData bool
	tablespace   bool
	// noSettings: the inventory asks for none, so pg_hba.conf alone is edited.
	noSettings bool
	// noSSH: the login user has no ~/.ssh on the upstream yet.
	noSSH bool
	// exclusive: the primary makes backups and slots as 9.5 does.
	exclusive bool
	// late: pg2 replays two hours late.
	late bool
	// waited: commits wait for pg2, and it has an archive of its own.
	waited bool
}

func layouts() []layout {
	return []layout{
		{name: "configuration in etc"},
		{name: "configuration in the data directory", configInData: true},
		{name: "tablespace", tablespace: true},
		{name: "nothing to set, no ssh directory", noSettings: true, noSSH: true},
		{name: "exclusive backups", tablespace: true, exclusive: true},
		{name: "nothing to set, no ssh directory, delayed", noSettings: true, noSSH: true, late: true},
		{name: "synchronous, with an archive", waited: true},
	}
}

// world is two hosts with PostgreSQL, as far as the built-in plans look at
// them: files, roles, slots, sessions and what a server does with its files when it
// starts.
type world struct {
	t      testing.TB
	layout layout
	inv    *inventory.Cluster
	// balanced: the inventory has balancers in front of pg2.
	balanced bool
	hosts    map[string]*machine
	dir      string // of the journals

	mu      sync.Mutex
	roles   map[string]string // name to "verifier", attributes
	slots   map[string]string // name to user
	scratch map[string]bool   // scratch databases; true: with a schema
	lost    map[string]bool   // slots that have lost their WAL
	keeps   *postgres.LSN     // the WAL that slots keep begins there; nil: not told
	spaces  []facts.Tablespace
	locks   map[string]*sqlSession
	backups int            // begun so far
	named   map[int]string // of exclusive ones, the label
	// exclusive is the server's own backup, and reserved are the slots that keep WAL,
	// where those are acts of their own.
	exclusive *exclusive
	reserved  map[string]bool
	keys      map[string]string // public to private
	sessions  []*sqlSession
	deadMen   []func() // what the hosts do when the tool dies
	holder    string   // application of the session that holds the lock, for facts
	// stuckCopy keeps the copies of journals from being removed.
	stuckCopy error
	// unsaidCopy is what becomes of the first copy of a journal after it is in its place,
	// and before that is said.
	unsaidCopy error
	// mirrors counts the processes that keep them, and mirroring those that run; those in
	// mirrorDies end as they start.
	mirrors    int
	mirroring  int
	mirrorDies map[int]bool

	ddl ddlState

	// restarted, if set, is told of every restart of a server, as it happens.
	restarted func(m *machine)

	// crash
	ticks    int
	changes  int
	last     string
	instants []int // at which something had happened since the one before
	crashAt  int   // 0: never
	dead     bool
	journal  map[string][]byte // as the disk has it when the tool dies
	trace    []string
	// what a run is of, other than the bootstrap of pg2
	plans  string
	vars   map[string]string
	accept []string
	// oldest WAL file of pg1; a deaf pg2 does not stream.
	oldest string
	deaf   bool
	lags   bool // a standby that comes back has some WAL before it
	// ofAge: the apply delay of all that pg2 has received is over.
	ofAge bool
	// hook, if set, is told of every command before it runs.
	hook func(ctx context.Context, host, do string) error
}

// machine is one of its hosts.
type machine struct {
	w    *world
	name string
	inv  *inventory.Host
	fs   *hosttest.FS

	own      host.SQL // the ordinary session
	running  bool
	recovery bool
	loaded   map[string]string // configuration files as the server knows them
	loads    int
	copied   int // the backup during which the data were copied
	boots    int // since the test began
	catalog  string
	replay   replaying
	// inForce is the postgresql.conf of the last restart, for tests that restart.
	inForce string
}

var _ host.Host = (*machine)(nil)

func newWorld(t testing.TB, l layout) *world {
	t.Helper()
	w := &world{t: t, layout: l, hosts: map[string]*machine{}, roles: map[string]string{}, slots: map[string]string{}, reserved: map[string]bool{}, named: map[int]string{}, scratch: map[string]bool{},
		locks: map[string]*sqlSession{}, keys: map[string]string{}, ddl: ddlState{columns: map[string]bool{}, xids: map[string]string{}}, dir: filepath.Join(memory(t), "runs")}
	w.inv = parseInventory(t, l)
	for _, h := range w.inv.Hosts {
		m := &machine{w: w, name: h.Name, inv: h, fs: hosttest.NewFS("/dev/shm", "/home/deploy", "/etc", "/var/log/postgresql", "/ts/fast")}
		m.fs.Dir("/var/lib/postgresql", "postgres", 0o755)
		m.fs.Dir("/home/deploy", "", 0o755)
		m.fs.Dir("/ts/fast", "postgres", 0o700)
		m.fs.Put("/usr/lib/postgresql/15/bin/pg_archivecleanup", "", 0o755, "program")
		m.fs.OnChange(func(change string, done bool) error { return w.tick(h.Name+": "+change, done) })
		w.hosts[h.Name] = m
	}
	if l.tablespace {
		w.spaces = []facts.Tablespace{{OID: 16399, Name: "fast", Location: "/ts/fast"}}
	}
	w.hosts["pg1"].primary()
	w.hosts["pg2"].empty()
	return w
}

// memory is a directory where an fsync costs nothing, if there is one: the crash
// tests write more than a hundred thousand records.
func memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "pgrepctl-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func parseInventory(t testing.TB, l layout) *inventory.Cluster {
	t.Helper()
	c, err := inventory.Parse("pgrepctl.yaml", []byte(inventoryText(l)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func inventoryText(l layout) string {
	conf := "/etc/postgresql/15/main"
	service := "{kind: pg_ctlcluster}"
	if l.configInData {
		conf = "/var/lib/postgresql/15/main"
		service = "{kind: pg_ctl}"
	}
	settings := "settings: {wal_keep_size: 1GB}"
	if l.noSettings {
		settings = ""
	}
	more := ""
	if l.late {
		more = ", apply_delay: 2h"
	}
	if l.waited {
		more = ", synchronous: true"
	}
	text := fmt.Sprintf(`cluster: shop
postgres:
  version: 15
  data_directory: /var/lib/postgresql/15/main
  config_directory: %s
  bin_directory: /usr/lib/postgresql/15/bin
  service: %s
  %s
replication: {user: replicator, password: {env: PW}, sslmode: require}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby%s}
`, conf, service, settings, more)
	if l.waited {
		text += "archive: [{directory: /var/lib/postgresql/wal, shared: false, create: true}]\n"
	}
	return text
}

func (m *machine) data(name string) string { return path.Join(m.inv.Postgres.DataDirectory, name) }
func (m *machine) conf(name string) string { return path.Join(m.inv.Postgres.ConfigDirectory, name) }

const hbaBefore = "# rules\nlocal all all peer\nhost all all 10.0.0.0/8 scram-sha-256" // no final newline

// primary is a running server with some data.
func (m *machine) primary() {
	control, err := os.ReadFile("../postgres/testdata/control/15-running.control")
	if err != nil {
		m.w.t.Fatal(err)
	}
	m.fs.Dir(m.data(""), "postgres", 0o700)
	for _, d := range m.version().RequiredDirs() {
		m.fs.Dir(m.data(d), "postgres", 0o700)
	}
	for name, text := range map[string]string{
		"PG_VERSION": "15\n", "base/1/1259": "pg_class", "base/5/16384": "shop rows", "global/pg_control": string(control),
		"pg_wal/000000010000000000000001": "wal", "pg_xact/0000": "xact", "postmaster.pid": pidFile(100), "postgresql.auto.conf": "# by ALTER SYSTEM\nwork_mem = '8MB'\n",
		"pg_replslot/old/state": "slot",
	} {
		m.fs.Put(m.data(name), "postgres", 0o600, text)
	}
	m.catalog = m.catalogOf(control)
	for _, ts := range m.w.spaces {
		m.fill(ts)
	}
	m.config("max_connections = 200\nwal_level = replica\nmax_wal_senders = 12\nssl = on\n")
	if !m.w.layout.noSSH {
		m.fs.Dir("/home/deploy/.ssh", "", 0o700)
		m.fs.Put("/home/deploy/.ssh/authorized_keys", "", 0o600, "ssh-ed25519 AAAAanna anna@desk") // no final newline
	}
	m.running = true
	m.load()
}

// fill puts a table into a tablespace.
func (m *machine) fill(ts facts.Tablespace) {
	m.fs.Put(ts.Location+"/PG_15_"+m.catalog+"/5/16400", "postgres", 0o600, ts.Name+" rows")
}

func (m *machine) catalogOf(control []byte) string {
	c, err := postgres.ParseControl(control)
	if err != nil {
		m.w.t.Fatal(err)
	}
	return fmt.Sprint(c.CatalogVersion)
}

func (m *machine) empty() {
	m.fs.Dir("/var/lib/postgresql/15", "postgres", 0o755)
	if !m.w.layout.configInData {
		m.config("max_connections = 100\nssl = on\n")
	}
	m.fs.Dir(m.data(""), "postgres", 0o700)
}

func (m *machine) config(text string) {
	m.fs.Put(m.conf("postgresql.conf"), "postgres", 0o644, "# configuration\n"+text)
	m.fs.Put(m.conf("pg_hba.conf"), "postgres", 0o640, hbaBefore)
	m.fs.Put(m.conf("pg_ident.conf"), "postgres", 0o640, "")
}

func (m *machine) version() postgres.Version { return postgres.MakeVersion(15, 4) }

func (m *machine) load() {
	m.loads++
	m.loaded = map[string]string{}
	for _, name := range []string{"postgresql.conf", "pg_hba.conf"} {
		m.loaded[name], _ = m.fs.Get(m.conf(name))
	}
	m.loaded["postgresql.auto.conf"], _ = m.fs.Get(m.data("postgresql.auto.conf"))
}

// tick is one instant at which the tool may die: before and after each change
// on a host, and whenever the clock is read, which each record of the journal does.
func (w *world) tick(what string, changed bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errDead
	}
	w.ticks++
	if changed {
		w.changes++
	}
	var journalled int64
	if info, err := os.Stat(w.runFile()); err == nil {
		journalled = info.Size()
	}
	// Nothing happened since the last instant: to die now is to die then.
	if at := fmt.Sprint(journalled, " ", w.changes); at != w.last {
		w.last = at
		w.instants = append(w.instants, w.ticks)
		w.trace = append(w.trace, what)
	}
	if w.ticks == w.crashAt {
		w.die()
		return errDead
	}
	return nil
}

// die ends the tool: its sessions go, the files on its disk stay as they are.
func (w *world) die() {
	w.dead = true
	for _, s := range w.sessions {
		s.end()
	}
	w.sessions = nil
	if w.ticks%2 == 0 { // else they have not noticed yet
		for _, act := range w.deadMen {
			act()
		}
	}
	w.deadMen = nil
	w.journal = map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(w.dir, "*.jsonl"))
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			w.t.Error(err)
		}
		w.journal[n] = b
	}
}

// revive is the next start of the tool, on the same disk.
func (w *world) revive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	names, _ := filepath.Glob(filepath.Join(w.dir, "*.jsonl"))
	for _, n := range names {
		b, ok := w.journal[n]
		if !ok {
			if err := os.Remove(n); err != nil {
				w.t.Error(err)
			}
			continue
		}
		if w.ticks%2 == 1 {
			b = append(slices.Clone(b), `{"seq":`...) // a line that the crash tore
		}
		if err := os.WriteFile(n, b, 0o600); err != nil {
			w.t.Error(err)
		}
	}
	w.dead, w.crashAt, w.ticks, w.changes, w.last, w.instants, w.trace = false, 0, 0, 0, "", nil, nil
}

// engine of one start of the tool. Stop may be nil.
func (w *world) engine(sink event.Sink, stop <-chan struct{}) *engine.Engine {
	if sink == nil {
		sink = event.Discard{}
	}
	at := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	return &engine.Engine{Inventory: w.inv, Cluster: w, Dir: w.dir, Sink: sink, Operator: operatorName, Version: "test", Stop: stop, Accept: w.accept,
		Now: func() time.Time {
			_ = w.tick("clock", false)
			return at
		},
		NewID: func() string {
			// A run that died before it did anything has left a journal.
			n := 1
			for ; ; n++ {
				if _, err := os.Stat(filepath.Join(w.dir, fmt.Sprintf("run%d.jsonl", n))); err != nil {
					return fmt.Sprintf("run%d", n)
				}
			}
		},
		NewKey: func() (steps.Key, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			public := fmt.Sprintf("ssh-ed25519 AAAAkey%d", len(w.keys))
			private := fmt.Sprintf("%s %d\n", canaryKey, len(w.keys))
			w.keys[public] = private
			return steps.Key{Public: public, Private: secret.New(private)}, nil
		},
		Password: func(context.Context) (secret.Value, error) { return secret.New(canary), nil },
	}
}

func (w *world) plan() *plan.Plan {
	w.t.Helper()
	name, vars := "bootstrap-standby", map[string]string{"standby": "pg2"}
	if w.plans != "" {
		name, vars = w.plans, w.vars
	}
	text, err := templates.Plans.ReadFile("plans/" + name + ".yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := plan.Load(name, text, w.inv, vars)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) runFile() string { return filepath.Join(w.dir, "run1.jsonl") }

func (w *world) Host(_ context.Context, name string) (host.Host, error) {
	m, ok := w.hosts[name]
	if !ok {
		return nil, fmt.Errorf("no host %q", name)
	}
	return m, nil
}

// state is everything that a user could find on the hosts, in words that do not
// depend on how often something was tried.
func (w *world) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.hosts)) {
		m := w.hosts[name]
		fmt.Fprintf(&b, "== %s running=%v recovery=%v paused=%v\n", name, m.running, m.recovery, m.replay.paused)
		if m.inForce != "" {
			fmt.Fprintf(&b, "in force %q\n", m.inForce)
		}
		for _, f := range slices.Sorted(maps.Keys(m.loaded)) {
			if m.running {
				fmt.Fprintf(&b, "loaded %s %q\n", f, m.loaded[f])
			}
		}
		for _, line := range strings.SplitAfter(m.fs.Dump("/"), "\n") {
			line = strings.ReplaceAll(line, "run2", "run1")
			b.WriteString(backupNumber.ReplaceAllString(line, "backup N"))
		}
	}
	for _, r := range slices.Sorted(maps.Keys(w.roles)) {
		fmt.Fprintf(&b, "role %s with a verifier: %v\n", r, strings.HasPrefix(w.roles[r], "SCRAM-SHA-256$"))
	}
	for _, s := range slices.Sorted(maps.Keys(w.slots)) {
		fmt.Fprintf(&b, "slot %s used by %q\n", s, w.slots[s])
	}
	if n := len(w.ddl.columns); n > 0 {
		fmt.Fprintf(&b, "schema changes %d, pg2 at %s\n", n, w.hosts["pg2"].replay.at)
	}
	for _, s := range slices.Sorted(maps.Keys(w.scratch)) {
		fmt.Fprintf(&b, "scratch database %s\n", s)
	}
	fmt.Fprintf(&b, "locks %d\nexclusive backup %v\n", len(w.locks), w.exclusive != nil)
	return b.String()
}
