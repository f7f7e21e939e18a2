package doctor

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// inside puts the configuration of both hosts into their data directories.
func (l *lab) inside() {
	for _, h := range l.cl.Hosts {
		h.Postgres.ConfigDirectory = h.Postgres.DataDirectory
	}
}

// tls gives the standby ssl with these files, the first the certificate, and says
// what they are on it.
func (l *lab) tls(cert, key string, is ...facts.Access) {
	l.config("ssl_cert_file = '" + cert + "'\nssl_key_file = '" + key + "'\n")
	l.src2.access = map[string]facts.Access{cert: {File: true, Read: true, Owner: "root", Mode: 0o644}}
	for _, a := range is {
		l.src2.access[a.Path] = a
	}
}

func startsCases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	const cert, key = "/etc/ssl/pg.crt", "/etc/ssl/pg.key"
	mode := func(owner string, m facts.Access) facts.Access {
		m.Path, m.Owner, m.File, m.Read = key, owner, true, true
		return m
	}
	return map[string]struct {
		damage func(*lab)
		want   []string
	}{
		"bad release of a standby to be made": {func(l *lab) { l.pg2.Machine.BinVersion = postgres.MakeVersion(15, 2) },
			[]string{"pg2 block release.create-database-wal-log", "..."}},
		"bad release of both": {func(l *lab) {
			l.pg1.Server.Version, l.pg2.Machine.BinVersion = postgres.MakeVersion(15, 18), postgres.MakeVersion(15, 18)
		}, []string{"pg1 warn release.cascade-reconnect", "pg1 warn release.torn-control-file"}},
		"bad release, no copy": {func(l *lab) { l.streaming(); l.pg2.Machine.BinVersion = postgres.MakeVersion(15, 2) }, nil},

		"block size":              {func(l *lab) { l.settings["block_size"] = "16384" }, []string{"pg2 block machine.block-size"}},
		"block size, no copy":     {func(l *lab) { l.streaming(); l.settings["block_size"] = "16384" }, nil},
		"block size is not known": {func(l *lab) { l.settings["block_size"] = "16384"; l.pg2.Machine.BlockSize = 0 }, nil},
		"WAL block size and file size": {func(l *lab) { l.settings["wal_block_size"], l.settings["segment_size"] = "65536", "131073" },
			[]string{"pg2 block machine.block-size", "pg2 block machine.block-size"}},
		"block size of the control file": {func(l *lab) { l.pg1.Data.Control.BlockSize, l.pg1.Server = 4096, facts.Server{} },
			[]string{"pg1 block source.down", "pg2 block machine.block-size"}},

		"collation version": {func(l *lab) {
			l.pg1.SetSorting(facts.Sorting{Collations: []facts.Collations{{Databases: []string{"shop"}, Recorded: "2.31", Actual: "2.36"}}})
		}, []string{"pg1 warn collation.version"}},
		"locale of a database": {func(l *lab) {
			l.pg1.SetSorting(facts.Sorting{Locales: []facts.Locale{{Name: "C"}, {Name: "C.UTF-8"}, {Name: "de_DE.UTF-8", Database: "shop"}, {Name: "en_US.UTF-8"}}})
		}, []string{"pg2 block target.locale"}},
		"locale of a database, no copy": {func(l *lab) {
			l.streaming()
			l.pg1.SetSorting(facts.Sorting{Locales: []facts.Locale{{Name: "de_DE.UTF-8"}}})
		}, nil},
		"locales that nobody can see": {func(l *lab) {
			l.pg2.Machine.Locales = nil
			l.pg1.SetSorting(facts.Sorting{Locales: []facts.Locale{{Name: "de_DE.UTF-8"}}})
		}, nil},
		"locale of the upstream's messages":  {func(l *lab) { l.settings["lc_messages"] = "de_DE.UTF-8" }, []string{"pg2 warn target.locale"}},
		"locale of messages that comes":      {func(l *lab) { l.inside(); l.settings["lc_messages"] = "de_DE.UTF-8" }, []string{"pg2 block target.locale"}},
		"locale of its own that is not here": {func(l *lab) { l.config("lc_time = 'de_DE.UTF-8'\n") }, []string{"pg2 block target.locale"}},
		"locale that the inventory gives": {func(l *lab) {
			l.inside()
			l.settings["lc_time"] = "de_DE.UTF-8"
			l.cl.Hosts[1].Postgres.Settings = []inventory.Setting{{Name: "lc_time", Value: "C"}}
		}, []string{"pg2 warn target.locale"}},

		"files of TLS are there": {func(l *lab) { l.tls(cert, key, mode("postgres", facts.Access{Mode: 0o600})) }, nil},
		"no certificate": {func(l *lab) {
			l.tls(cert, key, facts.Access{Path: cert}, mode("postgres", facts.Access{Mode: 0o600}))
		}, []string{"pg2 block target.tls-file"}},
		"key that cannot be read":  {func(l *lab) { l.tls(cert, key, facts.Access{Path: key, File: true, Owner: "root", Mode: 0o600}) }, []string{"pg2 block target.tls-file"}},
		"key that others may read": {func(l *lab) { l.tls(cert, key, mode("postgres", facts.Access{Mode: 0o640})) }, []string{"pg2 block target.tls-file"}},
		"key of root for a group":  {func(l *lab) { l.tls(cert, key, mode("root", facts.Access{Mode: 0o640})) }, nil},
		"no files of TLS, no copy": {func(l *lab) { l.streaming(); l.tls(cert, key, facts.Access{Path: cert}) }, nil},
		"files of TLS in the data directory": {func(l *lab) {
			l.tls("server.crt", "/srv/pg/data/server.key")
			l.src1.access = map[string]facts.Access{"/srv/pg/data/server.crt": {File: true, Read: true}, "/srv/pg/data/server.key": {}}
		}, []string{"pg2 block target.tls-file"}},

		"md5, and channel binding is required": {func(l *lab) {
			l.cl.Replication.Binding = inventory.BindingRequire
			l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Verifier: secret.New("md5" + strings.Repeat("0", 32))})
		}, []string{"pg1 block role.no-scram"}},
		"md5": {func(l *lab) {
			l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Verifier: secret.New("md5" + strings.Repeat("0", 32))})
		}, nil},
		"SCRAM, and channel binding is required": {func(l *lab) {
			l.cl.Replication.Binding = inventory.BindingRequire
			l.pg1.SetRole(facts.Role{Name: "replicator", Exists: true, Verifier: secret.New("SCRAM-SHA-256$4096:c2FsdA==$a:b")})
		}, nil},

		"standby that archives":                          {func(l *lab) { l.config("archive_mode = always\narchive_command = 'cp %p /a/%f'\n") }, []string{"pg2 warn standby.archives"}},
		"standby that would archive after its promotion": {func(l *lab) { l.config("archive_mode = on\narchive_command = 'cp %p /a/%f'\n") }, nil},
		"standby that archives nowhere":                  {func(l *lab) { l.config("archive_mode = always\n") }, nil},
		"standby that archives as its upstream does": {func(l *lab) {
			l.inside()
			l.settings["archive_mode"], l.settings["archive_library"] = "always", "basic_archive"
		}, []string{"pg2 warn standby.archives"}},
		"standby that archives, and runs":                 {func(l *lab) { l.streaming(); l.settings["archive_mode"], l.settings["archive_command"] = "always", "x" }, []string{"pg2 warn standby.archives"}},
		"standby that archives, and its upstream does it": {func(l *lab) { l.settings["archive_mode"], l.settings["archive_command"] = "always", "x" }, nil},
	}
}

func TestLocaleFindingsNameTheDatabaseAndThePackage(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.pg1.SetSorting(facts.Sorting{Locales: []facts.Locale{{Name: "de_DE.UTF-8", Database: "shop"}}})
	got := l.examine(t)
	if len(got) != 1 || !strings.Contains(got[0].Found, "no locale de_DE.UTF-8, which database shop of pg1 has") || !strings.Contains(got[0].Remedy, "glibc-langpack-de") {
		t.Errorf("%+v", got)
	}
}

func TestALocaleIsInstalledByItsLineAndByALanguagesPackage(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		"de_DE.UTF-8":       {"the line `de_DE.UTF-8 UTF-8`", "de"},
		"en_US.utf8":        {"the line `en_US.UTF-8 UTF-8`", "en"},
		"de_DE.iso885915":   {"the line `de_DE.ISO-8859-15 ISO-8859-15`", "de"},
		"sr_RS.UTF-8@latin": {"the line `sr_RS.UTF-8@latin UTF-8`", "sr"},
		"fil_PH.UTF-8":      {"the line `fil_PH.UTF-8 UTF-8`", "fil"},
		"ru_RU.koi8r":       {"the line `ru_RU.KOI8-R KOI8-R`", "ru"},
		"de_DE@euro":        {"its line of /usr/share/i18n/SUPPORTED", "de"},
		"de_DE":             {"its line of /usr/share/i18n/SUPPORTED", "de"},
		"C.UTF-8":           {"the line `C.UTF-8 UTF-8`", ""},
		"german":            {"its line of /usr/share/i18n/SUPPORTED", ""},
	} {
		text := "sudo apt-get install locales, put " + want[0] + " into /etc/locale.gen, then sudo locale-gen"
		if want[1] != "" {
			text += "; or sudo dnf install glibc-langpack-" + want[1]
		}
		if got := installLocale(name); got != text {
			t.Errorf("%s: %s", name, got)
		}
	}
}
