package doctor

import (
	"context"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func (s *source) Access(_ context.Context, _ string, dirs []string) ([]facts.Access, error) {
	var out []facts.Access
	for _, d := range dirs {
		a := s.access[d]
		a.Path = d
		out = append(out, a)
	}
	return out, s.err
}

func (s *source) List(context.Context, string, string) ([]host.Entry, error) { return s.bin, s.err }

// late makes pg2 a standby that is to be made two hours late, of a primary that
// writes 1 MB a second, with so much room on both.
func (l *lab) late(free2, free1 int64) {
	l.cl.Hosts[1].ApplyDelay, l.cl.Hosts[1].Traffic = 2*time.Hour, "none"
	c := &l.pg1.Data.Control
	c.RedoLSN, c.CheckpointTime = 1<<30, l.pg1.Machine.Clock.Add(-100*time.Second)
	l.pg1.Server.LSN = c.RedoLSN + 100<<20
	l.src1.spaces = map[string]facts.Space{"/srv/pg/data/pg_wal": {FreeBytes: free1, TotalBytes: 1 << 40}}
	l.src2.spaces = map[string]facts.Space{"/srv/pg/data/pg_wal": {FreeBytes: free2, TotalBytes: 1 << 40}}
}

// rules are those of pg2.
func (l *lab) rules(text string) {
	l.pg2.Server.HBAFile = "/hba"
	l.pg2.SetFile("postgres", host.File{Path: "/hba", Exists: true, Data: []byte(text)})
}

// cascaded makes pg1 a standby too.
func (l *lab) cascaded() {
	l.cl.Hosts[0].Role = inventory.Standby
	l.cl.Hosts[0].UpstreamName = "pg0"
	l.pg1.Server.InRecovery, l.pg1.Server.Replay.ReceiverStatus = true, "streaming"
	l.pg1.Data.Standby, l.pg1.Data.Control.FullPageWrites = true, true
}

func roleCases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	const gb = 1 << 30
	return map[string]struct {
		damage func(*lab)
		want   []string
	}{
		"waits for nobody who is there": {func(l *lab) { l.settings["synchronous_standby_names"] = "ANY 1 (a, b)" }, []string{"pg1 warn sync.too-few"}},
		"waits for the only one":        {func(l *lab) { l.streaming(); l.settings["synchronous_standby_names"] = "pg2" }, []string{"pg1 note sync.too-few"}},
		"waits for one of two": {func(l *lab) {
			l.streaming()
			l.settings["synchronous_standby_names"] = "ANY 1 (pg2, pg3)"
			l.pg1.Server.Senders = append(l.pg1.Server.Senders, facts.Sender{Application: "pg3", State: "streaming"})
		}, nil},
		"waits for a stranger": {func(l *lab) {
			l.streaming()
			l.cl.Replication.Synchronous = inventory.SyncRule{Number: 1}
			l.settings["synchronous_standby_names"] = "FIRST 1 (pg2, other)"
		}, []string{"pg1 block sync.unknown", "pg1 note sync.too-few"}},
		"waits for one that is late": {func(l *lab) {
			l.streaming()
			l.late(100*gb, 100*gb)
			l.settings["synchronous_standby_names"] = "pg2"
			l.settings["recovery_min_apply_delay"] = "7200000"
		}, []string{"pg1 note sync.too-few", "pg2 warn sync.delayed"}},
		"waits until a late one has replayed": {func(l *lab) {
			l.streaming()
			l.late(100*gb, 100*gb)
			l.settings["synchronous_standby_names"], l.settings["synchronous_commit"] = "pg2", "remote_apply"
			l.settings["recovery_min_apply_delay"] = "7200000"
		}, []string{"pg1 note sync.too-few", "pg2 block sync.delayed"}},

		"below a standby":                 {(*lab).cascaded, nil},
		"below one without full pages":    {func(l *lab) { l.cascaded(); l.pg1.Data.Control.FullPageWrites = false }, []string{"pg1 block source.full-page-writes"}},
		"below one that receives nothing": {func(l *lab) { l.cascaded(); l.pg1.Server.Replay.ReceiverStatus = "" }, []string{"pg2 block upstream.receives"}},
		"upstream listens to itself":      {func(l *lab) { l.settings["listen_addresses"] = "localhost, 127.0.0.1" }, []string{"pg2 block upstream.listens"}},
		"upstream listens to an address":  {func(l *lab) { l.settings["listen_addresses"] = "localhost, 10.9.9.9" }, nil},
		"standby would listen to itself":  {func(l *lab) { l.config("listen_addresses = localhost\n") }, []string{"pg2 note standby.listens"}},
		"standby would listen to itself, and is an upstream": {func(l *lab) {
			l.config("listen_addresses = localhost\n")
			l.cl.Hosts = append(l.cl.Hosts, &inventory.Host{Name: "pg9", Role: inventory.Standby, UpstreamName: "pg2", Postgres: l.cl.Hosts[1].Postgres})
		}, []string{"pg2 block standby.listens"}},
		"standby listens as the inventory says": {func(l *lab) {
			l.config("listen_addresses = localhost\n")
			l.cl.Hosts[1].Postgres.Settings = []inventory.Setting{{Name: "Listen_Addresses", Value: "*"}}
		}, nil},
		"standby without ssl": {func(l *lab) {
			l.cl.Replication.SSLMode, l.pg1.Server.SSL = "require", true
			l.config("ssl = off\n")
		}, []string{"pg2 note standby.tls-off"}},
		"standby turns the primary away": {func(l *lab) {
			l.streaming()
			l.rules("local all all peer\nhost replication replicator 10.0.0.12/32 scram-sha-256\n")
		}, []string{"pg2 note standby.turns-away"}},
		"standby admits the primary": {func(l *lab) { l.streaming(); l.rules("host all,replication all 10.0.0.0/8 scram-sha-256\n") }, nil},
		"feedback is cut": {func(l *lab) {
			l.cascaded()
			l.settings["hot_standby_feedback"] = "off"
			l.config("hot_standby_feedback = on\n")
		}, []string{"pg2 note feedback.cut"}},
		"feedback goes through": {func(l *lab) {
			l.cascaded()
			l.settings["hot_standby_feedback"] = "on"
			l.config("hot_standby_feedback = on\n")
		}, nil},

		"late, and well":                 {func(l *lab) { l.late(100*gb, 100*gb) }, nil},
		"late, and gives feedback":       {func(l *lab) { l.late(100*gb, 100*gb); l.config("hot_standby_feedback = on\n") }, []string{"pg2 warn delay.feedback"}},
		"late, and serves reads":         {func(l *lab) { l.late(100*gb, 100*gb); l.cl.Hosts[1].Traffic = "" }, []string{"pg2 warn delay.traffic"}},
		"late, and no room":              {func(l *lab) { l.late(7*gb, 100*gb) }, []string{"pg2 block delay.space"}},
		"late, and little room":          {func(l *lab) { l.late(8*gb, 100*gb) }, []string{"pg2 warn delay.space"}},
		"late, and its slot has no room": {func(l *lab) { l.late(100*gb, 7*gb) }, []string{"pg2 warn delay.slot-space"}},
		"late, and nobody knows the rate": {func(l *lab) {
			l.late(1, 1)
			l.pg1.Data.Control.CheckpointTime = l.pg1.Machine.Clock.Add(-time.Second)
		}, nil},
		"not late, as it should be": {func(l *lab) { l.streaming(); l.late(100*gb, 100*gb); l.settings["recovery_min_apply_delay"] = "0" }, []string{"pg2 warn delay.differs"}},
		"late, and at its recovery target": {func(l *lab) {
			l.streaming()
			l.late(100*gb, 100*gb)
			l.settings["recovery_min_apply_delay"] = "0"
			l.pg2.Server.Replay.Target = "recovery_target_time = 2026-11-26 07:10:00+00"
		}, []string{"pg2 warn standby.at-target"}},
		"late, of an archive, before 12": {func(l *lab) {
			l.late(100*gb, 100*gb)
			l.pg1.Server.Version = postgres.MakeVersion(11, 90)
			l.archive(inventory.Archive{Directory: "/wal", Shared: true}, facts.Access{Exists: true, Read: true, Write: true}, facts.Access{Exists: true, Read: true})
			for _, h := range l.cl.Hosts {
				h.Postgres.Version = "11"
			}
			l.pg1.Machine.BinVersion, l.pg2.Machine.BinVersion = postgres.MakeVersion(11, 90), postgres.MakeVersion(11, 90)
			l.settings["archive_mode"], l.settings["archive_command"] = "on", "cp"
		}, []string{"pg1 warn release.end-of-life", "pg2 block delay.archive-before-12"}},
	}
}

func TestForecastSaysWhatADelayHolds(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.late(7<<30, 100<<30)
	got := l.examine(t)
	want := "7.03 GB of WAL in 2h0m0s (at 1.00 MB a second, as in the last 1m40s), and 7.00 GB are free in /srv/pg/data/pg_wal"
	if len(got) != 1 || got[0].Found != want {
		t.Errorf("got %+v, want %s", got, want)
	}
}

func (l *lab) archive(a inventory.Archive, is1, is2 facts.Access) {
	l.cl.Archives = append(l.cl.Archives, a)
	l.src1.access = map[string]facts.Access{a.Directory: is1}
	l.src2.access = map[string]facts.Access{a.Directory: is2}
}

func archiveCases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	none, all, read, owned, makes := facts.Access{}, facts.Access{Exists: true, Read: true, Write: true}, facts.Access{Exists: true, Read: true, Owner: "root"},
		facts.Access{Exists: true, Owner: "root"}, facts.Access{Make: true}
	shared := func(is1, is2 facts.Access, mode, command string) func(*lab) {
		return func(l *lab) {
			l.archive(inventory.Archive{Directory: "/it's wal", Shared: true}, is1, is2)
			l.settings["archive_mode"], l.settings["archive_command"] = mode, command
		}
	}
	own := func(create bool, is2 facts.Access) func(*lab) {
		return func(l *lab) {
			l.archive(inventory.Archive{Directory: "/wal", Create: create}, none, is2)
			l.src2.bin = []host.Entry{{Name: "pg_archivecleanup"}}
			l.settings["archive_mode"], l.settings["archive_command"] = "on", "rsync"
		}
	}
	return map[string]struct {
		damage func(*lab)
		want   []string
	}{
		"archive is well":                        {shared(all, read, "on", "cp"), nil},
		"archive is not there":                   {shared(none, none, "on", "cp"), []string{"pg1 block archive.missing", "pg2 block archive.missing"}},
		"archive is not the primary's":           {shared(read, read, "on", "cp"), []string{"pg1 block archive.no-access"}},
		"archive is nobody's":                    {shared(owned, owned, "on", "cp"), []string{"pg1 block archive.no-access", "pg2 block archive.no-access"}},
		"archive is not filled":                  {shared(all, read, "off", ""), []string{"pg1 warn archive.off"}},
		"archive has no command":                 {shared(all, read, "on", "(disabled)"), []string{"pg1 warn archive.off"}},
		"own archive is well":                    {own(false, all), nil},
		"own archive has no program to clean it": {func(l *lab) { own(false, all)(l); l.src2.bin = nil }, []string{"pg2 block archive.no-cleanup"}},
		"own archive cannot be cleaned":          {own(false, read), []string{"pg2 block archive.no-access"}},
		"own archive is not there":               {own(false, makes), []string{"pg2 block archive.missing"}},
		"own archive will be made":               {own(true, makes), nil},
		"own archive cannot be made":             {own(true, none), []string{"pg2 block archive.missing"}},
	}
}

func TestASettingThatNeedsARestartIsOneCommandAway(t *testing.T) {
	t.Parallel()
	remedy := func(damage func(*lab)) string {
		l := newLab()
		l.settings["listen_addresses"] = "localhost"
		damage(l)
		for _, f := range l.examine(t) {
			if f.ID == "upstream.listens" {
				return f.Remedy
			}
		}
		return ""
	}
	third := func(l *lab) {
		l.cl.Hosts = append(l.cl.Hosts, &inventory.Host{Name: "pg3", Role: inventory.Standby, UpstreamName: "pg1"})
	}
	says := func(l *lab) {
		l.cl.Hosts[0].Postgres.Settings = []inventory.Setting{{Name: "Listen_Addresses", Value: "*"}}
	}
	for name, c := range map[string]struct {
		damage func(*lab)
		want   string
	}{
		"the only standby":                  {func(*lab) {}, "listen_addresses: '*' under settings: of pg1 in the inventory; to restart it: pgrepctl apply --restart=rolling; then type the same command again"},
		"one of two":                        {third, "listen_addresses: '*' under settings: of pg1 in the inventory; to restart it: pgrepctl apply --restart=rolling --without pg2; then type the same command again"},
		"one of two, as the inventory says": {func(l *lab) { third(l); says(l) }, "to restart it: pgrepctl apply --restart=rolling --without pg2; then type the same command again"},
	} {
		if got := remedy(c.damage); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
