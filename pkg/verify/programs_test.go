package verify

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// extension is the calls that find out of which version amcheck is in a database
// with a name that a pattern would take for more.
func extension(rows string) []hosttest.Call {
	return []hosttest.Call{
		{Do: "connect"}, {Do: "query select datname…", Out: `[{"name":"a*\"b"}]`}, {Do: "close"},
		{Do: "connect"}, {Do: "query select extversion as version from pg_extension where extname = 'amcheck'", Out: rows}, {Do: "close"},
	}
}

const amcheckRun = `run env LC_ALL=C PGOPTIONS=-c statement_timeout=0 -c lock_timeout=0 /bin/pg_amcheck --no-password --host=/run/pg --port=5433 --username=boss --heapallindexed --database="a*""b" as postgres`

func TestAmcheckRunsOnTheStandbyWhereTheExtensionIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows       string
		run        []hosttest.Call
		want       Result
		says, hint string
	}{
		"sound":         {`[{"version":"1.3"}]`, []hosttest.Call{{Do: amcheckRun}}, OK, "sound", ""},
		"newer":         {`[{"version":"1.10"}]`, []hosttest.Call{{Do: amcheckRun}}, OK, "sound", ""},
		"damaged":       {`[{"version":"1.3"}]`, []hosttest.Call{{Do: amcheckRun, Out: "heap table x\n    wrong\n", Err: &host.ExitError{Code: 2}}}, Failed, "heap table x; wrong", "/bin/pg_amcheck"},
		"cannot run":    {`[{"version":"1.3"}]`, []hosttest.Call{{Do: amcheckRun, Err: &host.ExitError{Code: 1, Stderr: "pg_amcheck: error: no way in\n"}}}, Failed, "no way in", ""},
		"no extension":  {"", nil, NotPossible, "no extension", "on pg1, in this database: create extension amcheck"},
		"old extension": {`[{"version":"1.2"}]`, nil, NotPossible, "1.2", "on pg1, in this database: alter extension amcheck update"},
	} {
		h := scripts(t, nil, append(extension(c.rows), c.run...))
		h["pg2"].Put("/bin/pg_amcheck", "root", 0o755, "")
		r, err := Run(t.Context(), h, subject(150000), []Level{Amcheck}, nil, patient)
		if err != nil {
			t.Fatal(err)
		}
		got := find(t, r, "amcheck")
		if got.Result != c.want || got.Database != `a*"b` || !strings.Contains(got.Detail, c.says) || !strings.Contains(got.Hint, c.hint) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAmcheckThatIsNotInstalledIsNotPossible(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), scripts(t, nil, nil), subject(150000), []Level{Amcheck}, nil, patient)
	if err != nil {
		t.Fatal(err)
	}
	if got := find(t, r, "amcheck"); got.Result != NotPossible || got.Detail != "there is no /bin/pg_amcheck" || got.Hint == "" {
		t.Errorf("%+v", got)
	}
}

func TestLostConnectionIsNoVerdictOnThePages(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection lost")
	h := scripts(t, nil, []hosttest.Call{{Do: "run env LC_ALL=C /bin/pg_checksums --check -D /data as postgres", Err: gone}})
	if _, err := Run(t.Context(), h, stopped(150000), []Level{Checksums}, nil, patient); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

func TestDatabaseThatDoesNotExistIsAUsageError(t *testing.T) {
	t.Parallel()
	h := scripts(t, nil, extension("")[:3])
	h["pg2"].Put("/bin/pg_amcheck", "root", 0o755, "")
	if _, err := Run(t.Context(), h, subject(150000), []Level{Amcheck}, []string{"nope"}, patient); fault.ClassOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

func stopped(v postgres.Version) Subject {
	s := subject(v)
	s.Standby.Facts.Server = facts.Server{}
	s.Upstream.Facts, s.Primary.Facts = nil, nil // not asked: they may be anywhere
	return s
}

func TestChecksumsOfAStoppedStandby(t *testing.T) {
	t.Parallel()
	const out = "Checksum operation completed\nFiles scanned:   12\nBlocks scanned:  34\nBad checksums:  1\nData checksum version: 1\n"
	const run = "run env LC_ALL=C /bin/pg_checksums --check -D /data as postgres"
	for name, c := range map[string]struct {
		v         postgres.Version
		call      []hosttest.Call
		restarted bool
		want      Result
		says      string
	}{
		"sound":     {150000, []hosttest.Call{{Do: run, Out: strings.Replace(out, "  1\n", "  0\n", 1)}}, false, OK, "Files scanned: 12; Blocks scanned: 34; Bad checksums: 0"},
		"11":        {110000, []hosttest.Call{{Do: "run env LC_ALL=C /bin/pg_verify_checksums -D /data as postgres"}}, false, OK, ""},
		"10":        {100000, nil, false, NotPossible, "no program before 11"},
		"damaged":   {150000, []hosttest.Call{{Do: run, Out: out, Err: &host.ExitError{Code: 1, Stderr: "pg_checksums: error: failed in file x\n"}}}, false, Failed, "Bad checksums: 1; pg_checksums: error: failed in file x"},
		"no tool":   {150000, []hosttest.Call{{Do: run, Err: &host.ExitError{Code: 127}}}, false, NotPossible, "there is no /bin/pg_checksums"},
		"restarted": {150000, []hosttest.Call{{Do: run, Out: out, Err: &host.ExitError{Code: 1}}}, true, NotPossible, "started meanwhile"},
	} {
		h := scripts(t, nil, c.call)
		if c.restarted {
			h["pg2"].Put("/data/postmaster.pid", "postgres", 0o600, "1\n")
		}
		r, err := Run(t.Context(), h, stopped(c.v), []Level{Checksums}, nil, patient)
		if err != nil {
			t.Fatal(err)
		}
		if got := find(t, r, "checksums"); got.Result != c.want || !strings.Contains(got.Detail, c.says) || c.want == Failed && !strings.HasSuffix(got.Hint, "pgrepctl standby reseed "+stopped(c.v).Standby.Facts.Name+" --force") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestChecksumsAreRefusedWhereTheyWouldProveNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*facts.Host)
		says   string
		hint   string
	}{
		"running":   {func(f *facts.Host) { f.Server.Running = true }, "its server runs", "stop it first, on pg2: stop it"},
		"starting":  {func(f *facts.Host) { f.Server.NotReady = "starting up" }, "its server runs", "stop it"},
		"alive":     {func(f *facts.Host) { f.Data.PID = 7 }, "its server runs", "stop it"},
		"off":       {func(f *facts.Host) { f.Server.Running, f.Data.Control.DataChecksumVersion = true, 0 }, "checksums are off", "--level hashes"},
		"crashed":   {func(f *facts.Host) { f.Data.Control.State = postgres.InArchiveRecovery }, "not shut down cleanly", "start its server"},
		"half made": {func(f *facts.Host) { f.Data.State = facts.Partial }, "no data directory", "status"},
	} {
		s := stopped(150000)
		c.damage(s.Standby.Facts)
		_, err := Run(t.Context(), scripts(t, nil, nil), s, []Level{Checksums}, nil, patient)
		var f *fault.Error
		if !errors.As(err, &f) || f.Class != fault.Refused || !strings.Contains(f.Error(), c.says) || !strings.Contains(f.Hint, c.hint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
