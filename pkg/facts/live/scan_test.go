package live

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// write makes files below dir for the server's user; a name that ends in / is a
// directory.
func write(t *testing.T, owner, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(p, 0o700); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		chown(t, p, owner)
	}
}

func TestGatherTellsWhatADirectoryIs(t *testing.T) {
	t.Parallel()
	u := serverUser(t)
	for name, c := range map[string]struct {
		files map[string]string // below the scratch directory; the data directory is "data"
		setup func(dir string) error
		want  facts.DataDir
		note  bool
	}{
		"absent":                   {want: facts.DataDir{State: facts.Absent}},
		"empty":                    {files: map[string]string{"data/": ""}, want: facts.DataDir{State: facts.Empty}},
		"only a place for the WAL": {files: map[string]string{"data/pg_wal/": ""}, want: facts.DataDir{State: facts.Foreign, Sample: []string{"pg_wal"}}},
		"dotfile":                  {files: map[string]string{"data/.keep": ""}, want: facts.DataDir{State: facts.Foreign, Sample: []string{".keep"}, HasData: true}},
		"line break":               {files: map[string]string{"data/a\nb=c": ""}, want: facts.DataDir{State: facts.Foreign, Sample: []string{"a\nb=c"}, HasData: true}},
		"file":                     {files: map[string]string{"data": "x"}, want: facts.DataDir{State: facts.Foreign}, note: true},
		"dangling link":            {setup: func(dir string) error { return os.Symlink("/nonexistent/x", filepath.Join(dir, "data")) }, want: facts.DataDir{State: facts.Foreign}, note: true},
		"marker": {
			files: map[string]string{"data/pgrepctl.run": `{"run":"r1","system_id":"7","source":"pg1","was_empty":true}`, "data/standby.signal": ""},
			want: facts.DataDir{State: facts.Partial, Standby: true, Sample: []string{"pgrepctl.run", "standby.signal"},
				Marker: facts.Marker{Run: "r1", SystemID: "7", Source: "pg1", WasEmpty: true}},
		},
		"marker of many tablespaces": {
			files: map[string]string{"data/pgrepctl.run": "{\"run\":\"r1\"," + strings.Repeat("\n", 100) + "\"was_empty\":true}"},
			want:  facts.DataDir{State: facts.Partial, Sample: []string{"pgrepctl.run"}, Marker: facts.Marker{Run: "r1", WasEmpty: true}},
		},
		"damaged marker": {files: map[string]string{"data/pgrepctl.run": "{"}, want: facts.DataDir{State: facts.Foreign, Sample: []string{"pgrepctl.run"}}, note: true},
		"no control file": {
			files: map[string]string{"data/PG_VERSION": "15\n", "data/base/": ""},
			want:  facts.DataDir{State: facts.Foreign, Version: "15", Sample: []string{"PG_VERSION", "base"}, HasData: true}, note: true,
		},
		"damaged control file": {
			files: map[string]string{"data/PG_VERSION": "15\n", "data/global/pg_control": strings.Repeat("x", 8192)},
			want:  facts.DataDir{State: facts.Foreign, Version: "15", Sample: []string{"PG_VERSION", "global"}, HasData: true}, note: true,
		},
		"signal of another version": {
			files: map[string]string{"data/PG_VERSION": "11\n", "data/standby.signal": ""},
			want:  facts.DataDir{State: facts.Foreign, Version: "11", Sample: []string{"PG_VERSION", "standby.signal"}, HasData: true}, note: true,
		},
		"recovery.conf that is no standby": {
			files: map[string]string{"data/PG_VERSION": "11\n", "data/recovery.conf": "#standby_mode = on\nrestore_command = 'standby_mode = on'\n"},
			want:  facts.DataDir{State: facts.Foreign, Version: "11", Sample: []string{"PG_VERSION", "recovery.conf"}, HasData: true}, note: true,
		},
		"recovery.conf": {
			files: map[string]string{"data/PG_VERSION": "9.6\n", "data/recovery.conf": " Standby_Mode 'true' # x\n"},
			want:  facts.DataDir{State: facts.Foreign, Version: "9.6", Standby: true, Sample: []string{"PG_VERSION", "recovery.conf"}, HasData: true}, note: true,
		},
		"recovery.conf with a slot": {
			files: map[string]string{"data/PG_VERSION": "11\n", "data/recovery.conf": "standby_mode = on\n#primary_slot_name = 'no'\n Primary_Slot_Name 'pg3_old' # x\nprimary_conninfo = 'password=x primary_slot_name=no'\n"},
			want:  facts.DataDir{State: facts.Foreign, Version: "11", Standby: true, PrimarySlotName: "pg3_old", Sample: []string{"PG_VERSION", "recovery.conf"}, HasData: true}, note: true,
		},
		"recovery.conf of no standby, with a slot": {
			files: map[string]string{"data/PG_VERSION": "11\n", "data/recovery.conf": "primary_slot_name = 'pg3_old'\n"},
			want:  facts.DataDir{State: facts.Foreign, Version: "11", Sample: []string{"PG_VERSION", "recovery.conf"}, HasData: true}, note: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := scratch(t, u)
			root := filepath.Join(dir, "it's \"a\" $(dir) -n")
			write(t, u, root, c.files)
			if err := os.MkdirAll(root, 0o755); err != nil {
				t.Fatal(err)
			}
			if c.setup != nil {
				if err := c.setup(root); err != nil {
					t.Fatal(err)
				}
			}
			s := &server{t: t, data: filepath.Join(root, "data"), user: u, major: "15", port: freePort(t)}
			got := s.gather().Data
			c.want.Path = s.data
			if c.note != (got.Note != "") {
				t.Errorf("note %q", got.Note)
			}
			got.Note, got.UID, got.Inode = "", 0, ""
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGatherResolvesLinksAlsoOfWhatIsNotThereYet(t *testing.T) {
	t.Parallel()
	u := serverUser(t)
	dir := scratch(t, u)
	write(t, u, dir, map[string]string{"real/": "", "real/data/": ""})
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"data", "missing/data"} {
		s := &server{t: t, data: filepath.Join(dir, "link", tail), user: u, major: "15", port: freePort(t)}
		if got, want := s.gather().Data.Path, filepath.Join(dir, "real", tail); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestParseScanRefusesAnswersThatAreNotWhole(t *testing.T) {
	t.Parallel()
	for name, out := range map[string]string{
		"nothing":        "",
		"banner":         "Welcome!\n",
		"cut off":        "\x00begin:n\x00uid=0\x00kind=absent\x00",
		"another nonce":  "\x00begin:m\x00uid=0\x00end:m\x00",
		"end as a value": "\x00begin:n\x00uid=end:m\x00",
	} {
		if _, err := parseRecord([]byte(out), "n"); !errors.Is(err, errNoFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rec, err := parseRecord([]byte("Last login: now\n\x00begin:n\x00a=1\x00a=2=3\x00noise\x00end:n\x00bye"), "n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"a": {"1", "2=3"}}, rec.values); diff != "" {
		t.Error(diff)
	}
	for name, values := range map[string]map[string][]string{
		"no user id": {"kind": {"absent"}},
		"no kind":    {"uid": {"1"}},
		"new kind":   {"uid": {"1"}, "kind": {"sponge"}},
	} {
		if _, err := parseScan(record{values: values}, inventory.Postgres{Version: "15"}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestLivePIDDecides(t *testing.T) {
	t.Parallel()
	const dir = "/srv/pg"
	for name, c := range map[string]struct {
		pid    int
		values map[string][]string
		want   int
	}{
		"none":                     {want: 0},
		"gone":                     {pid: 7, want: 0},
		"ours":                     {pid: 7, values: map[string][]string{"pid_owner": {"5"}, "pid_cwd": {dir}, "pid_state": {"S"}}, want: 7},
		"directory was replaced":   {pid: 7, values: map[string][]string{"pid_owner": {"5"}, "pid_cwd": {dir + " (deleted)"}, "pid_state": {"S"}}, want: 7},
		"recycled":                 {pid: 7, values: map[string][]string{"pid_owner": {"5"}, "pid_cwd": {"/"}, "pid_state": {"S"}}, want: 0},
		"recycled, hidden":         {pid: 7, values: map[string][]string{"pid_owner": {"0"}, "pid_cwd": {""}}, want: 0},
		"ours, hidden":             {pid: 7, values: map[string][]string{"pid_owner": {"5"}, "pid_cwd": {""}}, want: 7},
		"owner not known, hidden":  {pid: 7, values: map[string][]string{"pid_owner": {""}, "pid_cwd": {""}}, want: 7},
		"zombie":                   {pid: 7, values: map[string][]string{"pid_owner": {"5"}, "pid_cwd": {""}, "pid_state": {"Z"}}, want: 0},
		"server without its file":  {values: map[string][]string{"server": {"9", "10"}}, want: 9},
		"server, file is recycled": {pid: 7, values: map[string][]string{"pid_owner": {"0"}, "pid_cwd": {""}, "server": {"9"}}, want: 9},
		"nonsense":                 {values: map[string][]string{"server": {"-9", "x"}}, want: 0},
	} {
		if got := livePID(record{values: c.values}, c.pid, dir, 5); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestParsersOfSmallOutputs(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]space{
		"/dev/sda1 100 40 60 40% /":                     {total: 102400, free: 61440, mount: "/"},
		"//nas/my share   1000 1 999   1% /srv/my data": {total: 1024000, free: 1022976, mount: "/srv/my data"},
		"overlay 100 130 -30 130% /":                    {total: 102400, mount: "/"},
		"none 0 0 0 - /proc":                            {mount: "/proc"},
		"":                                              {},
		"df: /x: No such file or directory":             {},
		"/dev/x 99999999999999999999 1 99999999999999999999 1% /": {},
	} {
		if got := parseDF(line); got != want {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
	for text, want := range map[string]pidFile{
		"42\n/data\n1700000000\n5433\n/run/pg\nlocalhost\n  1 2\nready   \n": {pid: 42, port: 5433, socketDir: "/run/pg"},
		"-42\n/data\n":                {pid: 42},
		"":                            {},
		"x\n\n\n99999999\nrelative\n": {},
		"42\n/d\n1\n5432\n\n":         {pid: 42, port: 5432},
	} {
		if got := parsePostmasterPID(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"rsync  version 3.2.7  protocol version 31":  "3.2.7",
		"rsync  version v3.4.1 protocol version 32":  "3.4.1",
		"rsync  version 3.5.0pre1  protocol version": "3.5.0",
		"openrsync: protocol version 29":             "",
		"":                                           "",
	} {
		if got := parseRsyncVersion(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]bool{
		"rsync  version 3.5.0\nCompress list:\n    zstd lz4 zlibx zlib none\nDaemon auth list:\n    sha512\n": true,
		"rsync  version 3.2.7\nCompress list:\n    lz4 zlibx\n    zlib zstd none":                             true,
		"rsync  version 3.2.7\nCompress list:\n    zlibx zlib none\nDaemon auth list:\n    zstd\n":            false,
		"rsync  version 3.1.3  protocol version 31\nCapabilities:\n    zstd\n":                                false,
		"": false,
	} {
		if got := rsyncZstd(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	for text, want := range map[string]string{
		"1700000000.123456789 +0530": "2023-11-15T03:43:20.123456789+05:30",
		"1700000000.%N -0800":        "2023-11-14T14:13:20-08:00",
		"1700000000. +0000":          "2023-11-14T22:13:20Z",
		"date: bad":                  "0001-01-01T00:00:00Z",
		"99999999999999999999":       "0001-01-01T00:00:00Z",
	} {
		if got := parseClock(text).Format("2006-01-02T15:04:05.999999999Z07:00"); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	dir, ver := pickBin([]string{"/a=postgres (PostgreSQL) 14.2", "/b=c=postgres (PostgreSQL) 15.4", "/c=", "x"}, "15")
	if dir != "/b=c" || ver.String() != "15.4" {
		t.Errorf("bin: %s %s", dir, ver)
	}
	if dir, _ = pickBin([]string{"/a=postgres (PostgreSQL) 14.2"}, "15"); dir != "/a" {
		t.Errorf("bin of another version: %s", dir)
	}
	if _, err := parseMachine(record{values: map[string][]string{"os": {"postgres:x:abc:1::/:/bin/sh"}}}); err == nil {
		t.Error("password entry without a user id: accepted")
	}
}

func TestLibrariesAreThoseOfTheChosenPrograms(t *testing.T) {
	t.Parallel()
	got := parseBinaries(record{values: map[string][]string{
		"bin": {"/a=postgres (PostgreSQL) 14.2", "/a/b=postgres (PostgreSQL) 15.4"}, "psql": {"/a/b/psql", "/usr/bin/psql", "alias"}, "icu": {"/a=67", "/a/b=72\n72"}, "libdir": {"/a=/a/lib", "/a/b=/a=b/lib"}, "lib": {"/a=x.so", "/a/b=z.so", "/a/b=y.so", "/a/b="},
	}}, "15")
	want := binaries{dir: "/a/b", version: postgres.MakeVersion(15, 4), clients: map[string]string{"psql": "/a/b/psql"}, icu: "72", libDir: "/a=b/lib", libs: []string{"y.so", "z.so"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(binaries{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParsersTakeAnyBytes(f *testing.F) {
	f.Add([]byte("\x00begin:n\x00uid=1\x00kind=directory\x00control=00\x00file:pgrepctl.run={}\x00df= 1 1 1 1% /\x00end:n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if rec, err := parseRecord(b, "n"); err == nil {
			_, _ = parseScan(rec, inventory.Postgres{Version: "15", DataDirectory: "/d"})
			_, _ = parseMachine(rec)
		}
		if words, err := parseRsyncServer(b, "n", "/d/"); err == nil && words[len(words)-1] != "/d/" {
			t.Fatalf("%q", words)
		}
		parsePostmasterPID(string(b))
		parseDF(string(b))
		parseClock(string(b))
		parseRsyncVersion(string(b))
	})
}
