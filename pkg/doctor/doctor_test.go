package doctor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// source answers what a host would be asked for.
type source struct {
	facts.Source
	errors []facts.ConfigError
	spaces map[string]facts.Space
	access map[string]facts.Access
	bin    []host.Entry // names in any directory
	asked  int          // for them
	err    error
}

func (s *source) File(_ context.Context, _, p string) (host.File, error) {
	return host.File{Path: p}, s.err
}
func (s *source) ConfigErrors(context.Context) ([]facts.ConfigError, error) { return s.errors, s.err }
func (s *source) Space(_ context.Context, _ string, dirs []string) ([]facts.Space, error) {
	s.asked++
	var out []facts.Space
	for _, d := range dirs {
		x := s.spaces[d]
		x.Path = d
		out = append(out, x)
	}
	return out, s.err
}

// lab is a primary and a standby that is about to be made.
type lab struct {
	cl       *inventory.Cluster
	pg1, pg2 *facts.Host
	src1     *source
	src2     *source
	settings map[string]string
	scope    Scope
}

func newLab() *lab {
	pg := func(h *inventory.Host) *inventory.Host {
		h.Postgres = inventory.Postgres{Version: "15", DataDirectory: "/srv/pg/data", ConfigDirectory: "/etc/postgresql/15/main", Port: 5432, OSUser: "postgres"}
		return h
	}
	l := &lab{src1: &source{}, src2: &source{}, scope: Scope{Standby: "pg2"}}
	l.cl = &inventory.Cluster{Name: "shop", Replication: inventory.Replication{User: "replicator", SSLMode: "prefer", Slots: true}, Hosts: []*inventory.Host{
		pg(&inventory.Host{Name: "pg1", Address: "10.0.0.11", Role: inventory.Primary}),
		pg(&inventory.Host{Name: "pg2", Address: "10.0.0.12", Role: inventory.Standby, UpstreamName: "pg1", Slot: "pg2"}),
	}}
	machine := func(id string) facts.Machine {
		return facts.Machine{LoginUser: "deploy", LoginHome: "/home/deploy", OSUser: "postgres", MachineID: id, BootID: id, Arch: "x86_64", Glibc: "2.36", RsyncVersion: "3.4.1",
			BinDirectory: "/usr/lib/postgresql/15/bin", BinVersion: postgres.MakeVersion(15, 90), TmpFS: "/dev/shm",
			FreeBytes: 1 << 40, TotalBytes: 1 << 41, ICU: "72", LibDirectory: "/usr/lib/postgresql/15/lib", Libraries: []string{"auto_explain.so", "pg_stat_statements.so"}, Clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			Tools:   map[string]string{"rsync": "/usr/bin/rsync", "perl": "/usr/bin/perl", "find": "/usr/bin/find", "sync": "/usr/bin/sync", "ssh": "/usr/bin/ssh"},
			Locales: []string{"C", "C.utf8", "POSIX", "en_US.utf8"}, BlockSize: 8192, WALBlockSize: 8192, SegmentBlocks: 131072}
	}
	l.pg1, l.pg2 = facts.New("pg1", l.src1), facts.New("pg2", l.src2)
	l.pg1.Machine, l.pg2.Machine = machine("a"), machine("b")
	l.pg1.Config = facts.ConfigDir{HasConfig: true}
	l.pg2.Config = l.pg1.Config
	l.pg1.Data = cluster("77", false)
	l.pg1.Data.PID = 42
	l.pg1.Server = facts.Server{Running: true, Version: postgres.MakeVersion(15, 90), SystemID: "77", Timeline: 1, DataDirectory: "/srv/pg/data", SizeBytes: 1 << 30}
	l.pg2.Data = facts.DataDir{Path: "/srv/pg/data", State: facts.Absent}
	l.settings = map[string]string{"wal_level": "replica", "max_wal_senders": "10", "max_replication_slots": "10", "fsync": "on",
		"full_page_writes": "on", "max_connections": "100", "synchronous_standby_names": "", "hot_standby": "on"}
	l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Login: true, Replication: true})
	l.config("")
	return l
}

// config is the standby's own postgresql.conf.
func (l *lab) config(text string) {
	l.pg2.SetFile("postgres", host.File{Path: "/etc/postgresql/15/main/postgresql.conf", Exists: true, Data: []byte("listen_addresses = '*'\nssl = on\n" + text)})
}

// disks gives pg1 a tablespace of 300 MB, beside 724 MB of other data, and the
// file systems that they go to on pg2 a device and some room.
func (l *lab) disks(data string, dataFree int64, space string, spaceFree int64) {
	l.pg1.Server.Tablespaces = []facts.Tablespace{{OID: 1, Name: "a", Location: "/ts/a", SizeBytes: 300 << 20}}
	l.src2.spaces = map[string]facts.Space{
		"/srv/pg/data": {Device: data, FreeBytes: dataFree, TotalBytes: 1 << 40},
		"/ts/a":        {Device: space, FreeBytes: spaceFree, TotalBytes: 1 << 40, Exists: true},
	}
}

func cluster(id string, standby bool) facts.DataDir {
	d := facts.DataDir{Path: "/srv/pg/data", State: facts.Cluster, Standby: standby, Inode: "1:" + id}
	for _, c := range id {
		d.Control.SystemID = d.Control.SystemID*10 + uint64(c-'0')
	}
	d.Control.DataChecksumVersion, d.Control.BlockSize = 1, 8192
	return d
}

// streaming makes pg2 a standby that works.
func (l *lab) streaming() {
	l.pg2.Data = cluster("77", true)
	l.pg2.Data.PID, l.pg2.Data.Inode = 43, "2:2"
	l.pg2.Server = facts.Server{Running: true, InRecovery: true, Version: postgres.MakeVersion(15, 90), SystemID: "77", Timeline: 1, DataDirectory: "/srv/pg/data"}
	l.pg2.Machine.PortInUse = true
	l.pg1.Server.Senders = []facts.Sender{{PID: 7, Application: "pg2", State: "streaming"}}
	l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical", Active: true, ActivePID: 7, Client: "pg2", WALStatus: "reserved"}}
}

func (l *lab) examine(t *testing.T) []Finding {
	t.Helper()
	rows := map[string]postgres.Setting{}
	for n, v := range l.settings {
		rows[n] = postgres.Setting{Name: n, Value: v, Vartype: "integer"}
	}
	l.pg1.SetSettings(rows)
	l.pg2.SetSettings(rows)
	l.pg2.SetRole(facts.Role{Name: "replicator", Exists: true, Login: true, Replication: true})
	got, err := Examine(t.Context(), l.cl, map[string]*facts.Host{"pg1": l.pg1, "pg2": l.pg2}, l.scope)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func slots(n int) []facts.Slot {
	var out []facts.Slot
	for i := range n {
		out = append(out, facts.Slot{Name: "s" + string(rune('a'+i)), Type: "physical", Active: true, Client: "x"})
	}
	return out
}

// cases damage the lab in one way each, and say what must be found.
func cases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	type c = struct {
		damage func(*lab)
		want   []string
	}
	failed := facts.Archiver{Mode: "on", LastFailed: &time.Time{}, FailedFile: "000000010000000000000001"}
	all := map[string]c{
		"healthy bootstrap": {func(*lab) {}, nil},
		"healthy cluster":   {func(l *lab) { l.streaming(); l.scope = Scope{} }, nil},
		"upstream down, standby as it should be": {func(l *lab) {
			l.streaming()
			l.pg1.Server, l.pg1.Data = facts.Server{}, facts.DataDir{State: facts.Absent, Path: "/srv/pg/data"}
		}, []string{"pg1 block source.down"}},

		"no bridge":         {func(l *lab) { delete(l.pg1.Machine.Tools, "perl") }, []string{"pg1 block tool.bridge-missing"}},
		"no find":           {func(l *lab) { delete(l.pg2.Machine.Tools, "find") }, []string{"pg2 block tool.missing"}},
		"no binaries":       {func(l *lab) { l.pg2.Machine.BinDirectory, l.pg2.Machine.BinVersion = "", 0 }, []string{"pg2 block binaries.missing"}},
		"other binaries":    {func(l *lab) { l.pg2.Machine.BinVersion = postgres.MakeVersion(14, 90) }, []string{"pg2 block binaries.other-major", "pg2 block release.major-differs"}},
		"clock an hour off": {func(l *lab) { l.pg2.Machine.Skew = -time.Hour }, []string{"pg2 block clock.far"}},
		"clock 3 s off":     {func(l *lab) { l.pg2.Machine.Skew = 3 * time.Second }, []string{"pg2 warn clock.skew"}},
		"clock 1 s off":     {func(l *lab) { l.pg2.Machine.Skew = time.Second }, nil},
		"interrupted run":   {func(l *lab) { l.pg1.Runs = []facts.Run{{ID: "run1", Cluster: "shop"}} }, []string{"pg1 block run.interrupted"}},
		"interrupted run, for a run that goes on": {func(l *lab) {
			l.scope.Run = "run2"
			l.pg1.Runs = []facts.Run{{ID: "run1", Cluster: "shop"}}
		}, []string{"pg1 warn run.interrupted"}},
		"the run itself, one that goes on, and another cluster's": {func(l *lab) {
			l.scope.Run = "run1"
			l.pg1.Runs = []facts.Run{{ID: "run1", Cluster: "shop"}, {ID: "run2", Cluster: "shop"}, {ID: "run3", Cluster: "other"}}
			l.pg1.Server.Lock = &facts.LockHolder{Application: "pgrepctl run2 anna@desk"}
		}, nil},
		"starting up":    {func(l *lab) { l.pg1.Server = facts.Server{NotReady: "starting up"} }, []string{"pg1 block server.not-ready"}},
		"another server": {func(l *lab) { l.pg1.Server.DataDirectory, l.pg1.Data.PID = "/other", 0 }, []string{"pg1 block server.another"}},

		"data directory behind a symlink": {func(l *lab) { l.pg1.Server.DataDirectory = "/srv/link/data" }, nil},

		"another version":     {func(l *lab) { l.pg1.Server.Version = postgres.MakeVersion(16, 90) }, []string{"pg1 block server.version", "pg2 block release.major-differs"}},
		"primary in recovery": {func(l *lab) { l.pg1.Server.InRecovery = true }, []string{"pg1 block server.role"}},
		"writable twin": {func(l *lab) { l.streaming(); l.pg2.Server.InRecovery, l.pg2.Data.Standby = false, false },
			[]string{"pg2 block server.writable-twin", "pg2 block target.server-running", "pg2 block target.not-a-standby"}},
		"bad release": {func(l *lab) {
			l.pg1.Server.Version = postgres.MakeVersion(14, 3)
			l.cl.Hosts[0].Postgres.Version, l.cl.Hosts[1].Postgres.Version = "14", "14"
			l.pg1.Machine.BinVersion, l.pg2.Machine.BinVersion = postgres.MakeVersion(14, 90), postgres.MakeVersion(14, 90)
		}, []string{"pg1 block release.cic-misses-rows", "..."}},
		"end of life":    {func(l *lab) { l.pg1.Machine.Clock = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"pg1 warn release.end-of-life"}},
		"broken file":    {func(l *lab) { l.src1.errors = []facts.ConfigError{{File: "/f", Line: 3, Message: "bad"}} }, []string{"pg1 block config.errors"}},
		"restart waits":  {func(l *lab) { l.pg1.Server.PendingRestart = []string{"port"} }, []string{"pg1 warn config.pending-restart"}},
		"archiver fails": {func(l *lab) { l.pg1.Server.Archiver = failed }, []string{"pg1 warn archive.failing"}},
		"fsync":          {func(l *lab) { l.settings["fsync"] = "off" }, []string{"pg1 warn fsync.off"}},
		"full pages":     {func(l *lab) { l.settings["full_page_writes"] = "off" }, []string{"pg1 warn full-page-writes.off"}},
		"no checksums":   {func(l *lab) { l.pg1.Data.Control.DataChecksumVersion = 0 }, []string{"pg1 note checksums.off"}},

		"wal_level":        {func(l *lab) { l.settings["wal_level"] = "minimal" }, []string{"pg1 block source.wal-level"}},
		"exclusive backup": {func(l *lab) { l.pg1.Server.ExclusiveBackup = true }, []string{"pg1 block source.exclusive-backup"}},
		"other backup":     {func(l *lab) { l.pg1.Server.Senders = []facts.Sender{{State: "backup"}} }, []string{"pg1 note source.backup-running"}},
		"9.5 below a standby": {func(l *lab) {
			l.pg1.Server.Version, l.pg1.Server.InRecovery, l.pg1.Server.Archiver = postgres.MakeVersion(9, 5, 90), true, failed
			l.settings["wal_level"] = "hot_standby"
			for _, h := range l.cl.Hosts {
				h.Postgres.Version = "9.5"
			}
			l.pg1.Machine.BinVersion, l.pg2.Machine.BinVersion = postgres.MakeVersion(9, 5, 90), postgres.MakeVersion(9, 5, 90)
		}, []string{"pg1 block server.role", "pg1 block source.backup-from-standby", "pg1 block archive.blocks-backup", "pg1 block tool.psql-missing", "pg1 warn release.end-of-life", "pg1 warn archive.failing"}},
		"password expired": {func(l *lab) { l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Expired: true}) }, []string{"pg1 block role.expired"}},
		"superuser":        {func(l *lab) { l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Superuser: true}) }, []string{"pg1 warn role.superuser"}},
		"ssl off":          {func(l *lab) { l.cl.Replication.SSLMode = "verify-full" }, []string{"pg1 block tls.off"}},
		"ssl on":           {func(l *lab) { l.cl.Replication.SSLMode = "require"; l.pg1.Server.SSL = true }, nil},
		"forgotten slot":   {func(l *lab) { l.pg1.Server.Slots = []facts.Slot{{Name: "old", Type: "physical"}} }, []string{"pg1 warn slot.strange"}},

		"no ssh on the standby":         {func(l *lab) { delete(l.pg2.Machine.Tools, "ssh") }, []string{"pg2 block tool.ssh-missing"}},
		"no ssh on the upstream":        {func(l *lab) { delete(l.pg1.Machine.Tools, "ssh") }, nil},
		"no ssh, and a relay":           {func(l *lab) { delete(l.pg2.Machine.Tools, "ssh"); l.cl.Hosts[1].Relay = true }, nil},
		"no ssh, no copy":               {func(l *lab) { l.streaming(); delete(l.pg2.Machine.Tools, "ssh") }, nil},
		"no rsync there":                {func(l *lab) { delete(l.pg1.Machine.Tools, "rsync") }, []string{"pg2 block rsync.missing"}},
		"no rsync, no copy":             {func(l *lab) { l.streaming(); delete(l.pg1.Machine.Tools, "rsync") }, nil},
		"rsync 3.1.2":                   {func(l *lab) { l.pg2.Machine.RsyncVersion = "3.1.2" }, []string{"pg2 block rsync.too-old"}},
		"rsync of another kind":         {func(l *lab) { l.pg2.Machine.RsyncVersion = "" }, []string{"pg2 block rsync.too-old"}},
		"rsync 3.2.7":                   {func(l *lab) { l.pg1.Machine.RsyncVersion = "3.2.7" }, []string{"pg2 warn rsync.insecure"}},
		"rsync 3.10":                    {func(l *lab) { l.pg1.Machine.RsyncVersion = "3.10.0" }, nil},
		"keys elsewhere":                {func(l *lab) { l.pg1.Machine.KeyFiles = []string{"/etc/ssh/keys/deploy"} }, []string{"pg2 block copy.authorized-keys"}},
		"keys nowhere":                  {func(l *lab) { l.pg1.Machine.KeyFiles = []string{} }, []string{"pg2 block copy.authorized-keys"}},
		"keys here and elsewhere":       {func(l *lab) { l.pg1.Machine.KeyFiles = []string{"/k", "/home/deploy/.ssh/authorized_keys"} }, nil},
		"keys elsewhere on the standby": {func(l *lab) { l.pg2.Machine.KeyFiles = []string{"/k"} }, nil},
		"keys elsewhere, no copy":       {func(l *lab) { l.streaming(); l.pg1.Machine.KeyFiles = []string{"/k"} }, nil},
		"slots expire, reseed": {func(l *lab) {
			l.streaming()
			l.scope.Reseed, l.settings["idle_replication_slot_timeout"] = true, "3600"
		}, []string{"pg2 warn slot.idle-timeout"}},
		"slots expire, bootstrap":      {func(l *lab) { l.settings["idle_replication_slot_timeout"] = "3600" }, nil},
		"the shell talks, and a relay": {func(l *lab) { l.pg1.Machine.ShellSays = "Welcome!"; l.cl.Hosts[1].Relay = true }, nil},
		"the shell talks":              {func(l *lab) { l.pg1.Machine.ShellSays = "Welcome!" }, []string{"pg2 block copy.shell-talks"}},
		"sudo refuses rsync":           {func(l *lab) { l.pg1.Machine.SudoRefusal = "sudo: a password is required" }, []string{"pg2 block copy.sudo"}},
		"sudo refuses on the standby":  {func(l *lab) { l.pg2.Machine.SudoRefusal = "sudo: a password is required" }, nil},
		"sudo refuses, no copy":        {func(l *lab) { l.streaming(); l.pg1.Machine.SudoRefusal = "sudo: a password is required" }, nil},

		"arm":        {func(l *lab) { l.pg2.Machine.Arch = "aarch64" }, []string{"pg2 block machine.architecture"}},
		"musl":       {func(l *lab) { l.pg2.Machine.Glibc = "" }, []string{"pg2 block machine.libc"}},
		"glibc 2.31": {func(l *lab) { l.pg2.Machine.Glibc = "2.31" }, []string{"pg2 block machine.libc"}},

		"ICU 67 there, not used":  {func(l *lab) { l.pg1.Machine.ICU = "67" }, nil},
		"ICU 67 there, and used":  {func(l *lab) { l.pg1.Machine.ICU = "67"; l.pg1.SetSorting(facts.Sorting{ICU: true}) }, []string{"pg2 block machine.icu"}},
		"ICU 72 on both":          {func(l *lab) { l.pg1.SetSorting(facts.Sorting{ICU: true}) }, nil},
		"ICU that nobody can see": {func(l *lab) { l.pg2.Machine.ICU = ""; l.pg1.SetSorting(facts.Sorting{ICU: true}) }, nil},

		"older standby":        {func(l *lab) { l.pg2.Machine.BinVersion = postgres.MakeVersion(15, 89) }, []string{"pg2 warn release.standby-older"}},
		"no walsender free":    {func(l *lab) { l.settings["max_wal_senders"] = "0" }, []string{"pg2 block wal-senders.full"}},
		"last walsender":       {func(l *lab) { l.settings["max_wal_senders"] = "1" }, nil},
		"walsender is its own": {func(l *lab) { l.streaming(); l.settings["max_wal_senders"] = "1" }, nil},
		"no slot free":         {func(l *lab) { l.settings["max_replication_slots"] = "2"; l.pg1.Server.Slots = slots(2) }, []string{"pg2 block slots.full"}},
		"last slot":            {func(l *lab) { l.settings["max_replication_slots"] = "3"; l.pg1.Server.Slots = slots(2) }, nil},
		"slot is logical":      {func(l *lab) { l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "logical"}} }, []string{"pg2 block slot.taken"}},
		"slot is another's": {func(l *lab) {
			l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical", Active: true, Client: "barman"}}
		}, []string{"pg2 block slot.taken"}},
		"slot waits for it": {func(l *lab) { l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical"}} }, nil},
		"slot lost":         {func(l *lab) { l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical", WALStatus: "lost"}} }, []string{"pg2 block slot.lost"}},
		"sync names star":   {func(l *lab) { l.settings["synchronous_standby_names"] = "ANY 1 (*)" }, []string{"pg1 warn sync.too-few", "pg2 warn sync.unplanned"}},
		"sync names it":     {func(l *lab) { l.settings["synchronous_standby_names"] = `FIRST 2 (a,"PG2")` }, []string{"pg1 warn sync.too-few", "pg2 warn sync.unplanned"}},
		"sync names others": {func(l *lab) { l.settings["synchronous_standby_names"] = "pg21, pg3" }, []string{"pg1 warn sync.too-few"}},

		"the source itself": {func(l *lab) {
			l.pg2.Data, l.pg2.Machine.MachineID, l.pg2.Machine.BootID = l.pg1.Data, "a", "a"
		}, []string{"pg2 block target.is-source", "pg2 block target.server-running", "pg2 block target.not-a-standby"}},
		"the source's disk in a cloned machine": {func(l *lab) {
			l.pg2.Data, l.pg2.Data.PID = cluster("77", true), 43
			l.pg2.Machine.MachineID = "a"
		}, nil},
		"the same inode elsewhere": {func(l *lab) {
			l.pg2.Data = cluster("77", true)
			l.pg2.Machine.BootID = "a"
		}, nil},
		"root":                 {func(l *lab) { l.pg2.Data.Path, l.pg2.Data.MountPoint = "/", true }, []string{"pg2 block target.system-directory"}},
		"var lib":              {func(l *lab) { l.pg2.Data.Path = "/var/lib" }, []string{"pg2 block target.system-directory"}},
		"directory of our own": {func(l *lab) { l.pg2.Data.Path = "/pgdata" }, nil},
		"mount point":          {func(l *lab) { l.pg2.Data.MountPoint, l.pg2.Data.State = true, facts.Empty }, []string{"pg2 block target.mount-point"}},
		"foreign":              {func(l *lab) { l.pg2.Data.State, l.pg2.Data.Sample = facts.Foreign, []string{"mail"} }, []string{"pg2 block target.foreign"}},
		"other system":         {func(l *lab) { l.pg2.Data = cluster("78", true) }, []string{"pg2 block target.other-system"}},
		"other system, reseed": {func(l *lab) { l.pg2.Data = cluster("78", true); l.scope.Reseed = true }, []string{"pg2 block target.other-system"}},
		"other system runs":    {func(l *lab) { l.pg2.Data = cluster("78", true); l.pg2.Data.PID = 5 }, []string{"pg2 block target.server-running", "pg2 block target.other-system"}},
		"half a copy":          {func(l *lab) { l.pg2.Data.State, l.pg2.Data.Marker.SystemID = facts.Partial, "77" }, nil},
		"half another copy":    {func(l *lab) { l.pg2.Data.State, l.pg2.Data.Marker.SystemID = facts.Partial, "78" }, []string{"pg2 block target.other-system"}},
		"old primary":          {func(l *lab) { l.pg2.Data = cluster("77", false); l.pg2.Data.Inode = "9:9" }, []string{"pg2 block target.not-a-standby"}},
		"old primary, reseed":  {func(l *lab) { l.pg2.Data = cluster("77", false); l.pg2.Data.Inode = "9:9"; l.scope.Reseed = true }, nil},
		"running, reseed":      {func(l *lab) { l.streaming(); l.scope.Reseed = true }, nil},
		"too small, reseed":    {func(l *lab) { l.streaming(); l.scope.Reseed, l.pg2.Machine.TotalBytes = true, 1<<29 }, []string{"pg2 block target.space"}},
		"no space":             {func(l *lab) { l.pg2.Machine.FreeBytes = 1<<30 + 1<<26 }, []string{"pg2 block target.space"}},
		"space":                {func(l *lab) { l.pg2.Machine.FreeBytes = 1<<30 + 1<<27 }, nil},

		"no space for a tablespace on a disk of its own":  {func(l *lab) { l.disks("1", 900<<20, "2", 299<<20) }, []string{"pg2 block target.space"}},
		"no space beside a tablespace":                    {func(l *lab) { l.disks("1", 299<<20, "2", 900<<20) }, []string{"pg2 block target.space"}},
		"space for each of two disks":                     {func(l *lab) { l.disks("1", 900<<20, "2", 400<<20) }, nil},
		"space for each, and not for both on one disk":    {func(l *lab) { l.disks("1", 1100<<20, "1", 1100<<20) }, []string{"pg2 block target.space"}},
		"space for both on one disk":                      {func(l *lab) { l.disks("1", 1200<<20, "1", 1200<<20) }, nil},
		"file system of a tablespace is not known":        {func(l *lab) { l.disks("1", 900<<20, "2", 0); l.src2.spaces["/ts/a"] = facts.Space{Exists: true} }, nil},
		"file systems cannot be told apart":               {func(l *lab) { l.disks("", 900<<20, "", 400<<20) }, nil},
		"a tablespace, and something is in the directory": {func(l *lab) { l.disks("1", 0, "2", 0); l.pg2.Data.State = facts.Partial }, nil},

		"port":             {func(l *lab) { l.pg2.Machine.PortInUse = true }, []string{"pg2 block target.port"}},
		"no configuration": {func(l *lab) { l.pg2.Config = facts.ConfigDir{} }, []string{"pg2 block target.config-directory"}},
		"configuration inside": {func(l *lab) {
			l.pg2.Config = facts.ConfigDir{}
			l.cl.Hosts[1].Postgres.ConfigDirectory = "/srv/pg/data"
		}, nil},
		"tablespace": {func(l *lab) {
			l.pg1.Server.Tablespaces = []facts.Tablespace{{Location: "/ts/a"}, {Location: "/ts/b"}, {Location: "/ts/c"}}
			l.cl.Hosts[1].Postgres.Tablespaces = map[string]string{"/ts/b": "/here/b"}
			l.src2.spaces = map[string]facts.Space{"/ts/a": {Exists: true}, "/here/b": {Exists: true}}
		}, []string{"pg2 block target.tablespace-directory"}},
		"library is missing":            {func(l *lab) { l.settings["shared_preload_libraries"] = "auto_explain, timescaledb" }, []string{"pg2 block target.library"}},
		"library of its own is missing": {func(l *lab) { l.config("shared_preload_libraries = 'auto_explain,citus'\n") }, []string{"pg2 block target.library"}},
		"two are missing":               {func(l *lab) { l.settings["shared_preload_libraries"] = "a,b" }, []string{"pg2 block target.library", "pg2 block target.library"}},
		"libraries are there": {func(l *lab) {
			l.settings["shared_preload_libraries"] = ` "$libdir/auto_explain", pg_stat_statements.so,`
		}, nil},
		"library of another directory": {func(l *lab) { l.settings["shared_preload_libraries"] = "/opt/lib/x.so" }, nil},
		"libraries in several directories": {func(l *lab) {
			l.settings["shared_preload_libraries"], l.settings["dynamic_library_path"] = "x", "/opt/lib:$libdir"
		}, nil},
		"libdir is not known":         {func(l *lab) { l.settings["shared_preload_libraries"], l.pg2.Machine.LibDirectory = "x", "" }, nil},
		"library is missing, no copy": {func(l *lab) { l.streaming(); l.settings["shared_preload_libraries"] = "x" }, nil},

		"no tmpfs":        {func(l *lab) { l.pg2.Machine.TmpFS = "" }, []string{"pg2 block target.tmpfs"}},
		"low parameter":   {func(l *lab) { l.config("MAX_connections = 50 # few\n") }, []string{"pg2 note standby.parameters"}},
		"high parameter":  {func(l *lab) { l.config("max_connections = 500\n") }, nil},
		"hot_standby off": {func(l *lab) { l.config("hot_standby = off\n") }, []string{"pg2 warn standby.hot-standby-off"}},
	}
	maps.Copy(all, serviceCases())
	maps.Copy(all, roleCases())
	maps.Copy(all, archiveCases())
	maps.Copy(all, startsCases())
	maps.Copy(all, ownConfigCases())
	return all
}

func TestExamineFindsWhatIsWrongAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab()
			c.damage(l)
			var got []string
			for _, f := range l.examine(t) {
				got = append(got, f.Host+" "+string(f.Severity)+" "+f.ID)
				if f.Found == "" || f.Remedy == "" {
					t.Errorf("no words: %+v", f)
				}
			}
			want := c.want
			if n := len(want); n > 0 && want[n-1] == "..." { // a table of its own, tested elsewhere
				want = want[:n-1]
				got = got[:min(len(got), len(want))]
			}
			slices.Sort(got)
			want = slices.Clone(want)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryCheckHasACaseThatFails(t *testing.T) {
	t.Parallel()
	var found []string
	for _, c := range cases() {
		for _, w := range c.want {
			if f := strings.Fields(w); len(f) == 3 {
				found = append(found, f[2])
			}
		}
	}
	seen := map[string]bool{}
	for _, c := range Checks() {
		if seen[c.ID] {
			t.Errorf("%s: twice in the registry", c.ID)
		}
		seen[c.ID] = true
		if c.Doc == "" || c.Severity.rank() < 0 {
			t.Errorf("%s: %+v", c.ID, c)
		}
		// These speak for tables of pkg/postgres.
		tables := []string{"release.known-bad", "release.known-bad-standby", "release.pair"}
		if !slices.Contains(found, c.ID) && !slices.Contains(tables, c.ID) {
			t.Errorf("%s: no case", c.ID)
		}
	}
}

func TestScopeLeavesOutHostsThatTakeNoPart(t *testing.T) {
	t.Parallel()
	l := newLab()
	pg3 := *l.cl.Hosts[1]
	pg3.Name, pg3.Slot = "pg3", "pg3"
	l.cl.Hosts = append(l.cl.Hosts, &pg3)
	l.pg2.Machine.TmpFS = ""
	hosts := map[string]*facts.Host{"pg2": l.pg2}
	got, err := Examine(t.Context(), l.cl, hosts, Scope{Standby: "pg3"})
	if err != nil || len(got) != 0 {
		t.Errorf("%v %v", got, err)
	}
}

func TestFindingsComeGravestFirst(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.pg1.Data.Control.DataChecksumVersion = 0
	l.settings["fsync"] = "off"
	l.pg2.Machine.TmpFS = ""
	var got []Severity
	for _, f := range l.examine(t) {
		got = append(got, f.Severity)
	}
	if diff := cmp.Diff([]Severity{Block, Warn, Note}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExamineFailsWhenAFactCannotBeRead(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.src1.err = errors.New("connection lost")
	l.pg1.SetSettings(postgres.Settings{})
	_, err := Examine(t.Context(), l.cl, map[string]*facts.Host{"pg1": l.pg1, "pg2": l.pg2}, l.scope)
	if !errors.Is(err, l.src1.err) {
		t.Errorf("got %v", err)
	}
}

func TestAcceptTakesIDsAndNothingElse(t *testing.T) {
	t.Parallel()
	fs := []Finding{{ID: "a.b", Severity: Block}, {ID: "machine.libc", Severity: Block}, {ID: "fsync.off", Severity: Warn}}
	blocking, rest, err := Accept(fs, []string{"machine.libc", "target.space"})
	if err != nil || len(blocking) != 1 || blocking[0].ID != "a.b" || len(rest) != 2 {
		t.Errorf("%v %v %v", blocking, rest, err)
	}
	if _, _, err = Accept(fs, []string{"machine.glibc"}); err == nil || !strings.Contains(err.Error(), "machine.libc") {
		t.Errorf("unknown id: %v", err)
	}
}
