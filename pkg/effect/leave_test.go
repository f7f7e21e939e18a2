package effect_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func passfile(whole bool, p string) *effect.RemovePassfile {
	return &effect.RemovePassfile{Passfile: effect.Passfile{Host: "pg2", As: "postgres", Path: p, Whole: whole, User: "repl:icator",
		Entries: []effect.PassEntry{{Address: "10.0.0.11", Port: 5432}, {Address: "fd00::1", Port: 5433}}}}
}

func TestRemovedPassfileIsWrittenAgainFromItsSourceAndNothingKeepsTheSecret(t *testing.T) {
	t.Parallel()
	const own, mine = "/home/.pgrepctl/shop.pgpass", "/home/.pgpass"
	const lines = `10.0.0.11:5432:replication:repl\:icator:canary-password
fd00\:\:1:5433:replication:repl\:icator:canary-password
`
	for _, c := range []struct {
		name          string
		e             *effect.RemovePassfile
		before, after string
		gone          bool
	}{
		{"the tool's own", passfile(true, own), lines, "", true},
		{"the OS user's", passfile(false, mine), lines + "other:5432:*:me:mine\n", "other:5432:*:me:mine\n", false},
		{"the OS user's, with our lines alone", passfile(false, mine), lines, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs := hosttest.NewFS("/home")
			fs.Dir("/home", "postgres", 0o755)
			fs.Dir("/home/.pgrepctl", "postgres", 0o700)
			fs.Put(c.e.Path, "postgres", 0o600, c.before)
			c.e.Images = []string{"/home/.pgrepctl/run0/passfile"}
			fs.Dir("/home/.pgrepctl/run0", "postgres", 0o700)
			fs.Put(c.e.Images[0], "postgres", 0o600, "old canary-password")
			fs.Put(c.e.Images[0]+".sums", "postgres", 0o600, "sum")
			in := newEnv(disk{hosttest.NewScript(t, "pg2", fs)})
			raw, err := effect.Encode(c.e.Inverse())
			if err != nil || strings.Contains(string(raw), "canary") {
				t.Fatalf("%s, %v", raw, err)
			}
			do(t, c.e, in)
			if got, there := fs.Get(c.e.Path); got != c.after || there == c.gone {
				t.Errorf("left: %q, %v", got, there)
			}
			if strings.Contains(fs.Dump("/"), "canary") || fs.Has("/home/.pgrepctl/run0") {
				t.Errorf("the password is left:\n%s", fs.Dump("/"))
			}
			do(t, c.e, in) // again, as after a crash
			back, err := effect.Decode(json.RawMessage(raw))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				do(t, back, in)
				if got, _ := fs.Get(c.e.Path); got != c.before {
					t.Errorf("written again: %q", got)
				}
			}
		})
	}
}

func erase() *effect.EraseData {
	return &effect.EraseData{Host: "pg2", As: "postgres", Path: "/data", WAL: "/wal", Tablespaces: []string{"/ts/fast"}, Sub: "PG_15_1", Also: []string{"/home/.pgrepctl/pg2.log"}}
}

func standbyTree() *hosttest.FS {
	fs := hosttest.NewFS("/home")
	fs.Dir("/home/.pgrepctl", "postgres", 0o700)
	for _, d := range []string{"/data", "/data/global", "/data/pg_tblspc", "/wal", "/ts", "/ts/fast", "/ts/fast/PG_15_1", "/ts/fast/PG_14_9"} {
		fs.Dir(d, "postgres", 0o700)
	}
	for _, p := range []string{"/data/global/pg_control", "/data/PG_VERSION", "/wal/000000010000000000000001", "/ts/fast/PG_15_1/x", "/ts/fast/PG_14_9/others", "/home/.pgrepctl/pg2.log", "/home/.pgrepctl/shop.pgpass"} {
		fs.Put(p, "postgres", 0o600, "x")
	}
	return fs
}

// mountedInside has a file system below the data directory.
type mountedInside struct{ disk }

func (mountedInside) Run(_ context.Context, c host.Cmd, io host.Stdio) error {
	if slices.Contains(c.Argv, "pgrepctl-mounts") {
		_, err := fmt.Fprintln(io.Out, "/data/pg_stat_tmp")
		return err
	}
	return fmt.Errorf("not expected: %s", c)
}

func TestNothingIsErasedWhereAFileSystemIsMountedInside(t *testing.T) {
	t.Parallel()
	fs := standbyTree()
	before := fs.Dump("/")
	_, err := erase().Do(t.Context(), newEnv(mountedInside{disk{hosttest.NewScript(t, "pg2", fs)}}))
	if fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "/data/pg_stat_tmp") {
		t.Errorf("%v", err)
	}
	if fs.Dump("/") != before {
		t.Error("it was erased")
	}
}

func TestErasingEmptiesWhatIsTheClustersAndNoMore(t *testing.T) {
	t.Parallel()
	fs := standbyTree()
	h := disk{hosttest.NewScript(t, "pg2", fs)}
	for link, to := range map[string]string{"/data/pg_wal": "/wal", "/data/pg_tblspc/16399": "/ts/fast"} {
		if err := h.Files("postgres").Symlink(t.Context(), to, link); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		do(t, erase(), newEnv(h))
	}
	for _, p := range []string{"/data/PG_VERSION", "/data/global", "/wal/000000010000000000000001", "/ts/fast/PG_15_1", "/home/.pgrepctl/pg2.log"} {
		if fs.Has(p) {
			t.Errorf("%s is left", p)
		}
	}
	for _, p := range []string{"/data", "/wal", "/ts/fast/PG_14_9/others", "/home/.pgrepctl/shop.pgpass"} {
		if !fs.Has(p) {
			t.Errorf("%s is gone", p)
		}
	}
}

func TestErasingRefusesALinkThatWasNotShown(t *testing.T) {
	t.Parallel()
	for link, to := range map[string]string{"/data/pg_wal": "/elsewhere", "/data/pg_tblspc/16399": "/ts/big"} {
		fs := standbyTree()
		h := disk{hosttest.NewScript(t, "pg2", fs)}
		if err := h.Files("postgres").Symlink(t.Context(), to, link); err != nil {
			t.Fatal(err)
		}
		_, err := erase().Do(t.Context(), newEnv(h))
		if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), to) || !fs.Has("/data/global/pg_control") {
			t.Errorf("got %v", err)
		}
	}
}

func TestErasingRefusesUnderAServer(t *testing.T) {
	t.Parallel()
	fs := standbyTree()
	fs.Put("/data/postmaster.pid", "postgres", 0o600, "1")
	in := newEnv(disk{hosttest.NewScript(t, "pg2", fs, call{Do: "run sh -c read -r pid…"})})
	_, err := erase().Do(t.Context(), in)
	wantFault(t, err, "pg2: erase /data: a server may be running in it", 6)
	if !fs.Has("/data/global/pg_control") {
		t.Error("it was begun")
	}
}

func TestNobodyIsPromotedAfterACrashOfThePrimary(t *testing.T) {
	t.Parallel()
	running, err := os.ReadFile("../postgres/testdata/control/15-running.control")
	if err != nil {
		t.Fatal(err)
	}
	fs := hosttest.NewFS("/")
	fs.Dir("/data/global", "postgres", 0o700)
	fs.Put("/data/global/pg_control", "postgres", 0o600, string(running))
	e := &effect.AwaitLastWAL{Host: "pg2", Primary: "pg1", PrimaryAs: "postgres", Data: "/data", Version: postgres.MakeVersion(15)}
	_, err = e.Do(t.Context(), newEnv(disk{hosttest.NewScript(t, "pg1", fs)}))
	if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "not shut down cleanly") {
		t.Errorf("got %v", err)
	}
}
