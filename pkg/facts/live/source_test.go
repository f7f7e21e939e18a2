package live

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func TestSourceReadsSettingsRolesAndFaults(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	ctx := contextOf(t)

	settings, err := g.Settings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p := settings["port"]; p.Value == "" || !p.NeedsRestart() || p.SourceFile != filepath.Join(s.data, "postgresql.conf") || len(settings) < 200 {
		t.Errorf("settings: %d, port %+v", len(settings), p)
	}

	g.exec(t, `create role "o'brien" login replication password 'x' valid until '2001-01-01 00:00:00Z'`,
		`create role forever login valid until 'infinity'`, `create role low login`)
	r, err := g.Role(ctx, "o'brien")
	if err != nil || !r.Exists || !r.Login || !r.Replication || r.Superuser || !r.Becomes || !r.Expired ||
		!strings.HasPrefix(r.Verifier.Reveal(), "SCRAM-SHA-256$") && !strings.HasPrefix(r.Verifier.Reveal(), "md5") {
		t.Errorf("role: %+v %v", r, err)
	}
	if r, err = g.Role(ctx, "forever"); err != nil || !r.Exists || r.Expired {
		t.Errorf("role valid until infinity: %+v %v", r, err)
	}
	if r, err = g.Role(ctx, "nobody"); err != nil || r.Exists || r.Name != "nobody" {
		t.Errorf("missing role: %+v %v", r, err)
	}
	g.exec(t, "set role low")
	if r, err = g.Role(ctx, "o'brien"); err != nil || !r.Exists || !r.Verifier.IsZero() || r.Becomes {
		t.Errorf("role without the right to see its verifier: %+v %v", r, err)
	}
	g.exec(t, "reset role")

	g.exec(t, "alter role low set synchronous_commit = local", "alter role low set work_mem = '1MB'", "alter database postgres set synchronous_commit = off",
		"alter role forever in database postgres set synchronous_commit = on")
	for _, x := range []struct{ setting, want string }{{"synchronous_commit", "database postgres: off, role forever in database postgres: on, role low: local"}, {"port", ""}} {
		list, err := g.SetFor(ctx, x.setting)
		var got []string
		for _, s := range list {
			got = append(got, s.String()+": "+s.Value)
		}
		if text := strings.Join(got, ", "); err != nil || text != x.want {
			t.Errorf("%s is set for %q, want %q (%v)", x.setting, text, x.want, err)
		}
	}
	g.exec(t, "alter database postgres reset synchronous_commit")

	if got, err := g.ConfigErrors(ctx); err != nil || len(got) != 0 {
		t.Errorf("sound files: %v %v", got, err)
	}
	s.set("work_mem", "'7 bananas'")
	s.set("max_connections", "123") // sound, and needs a restart
	hba, err := os.OpenFile(filepath.Join(s.data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hba.WriteString("hostssl all\n"); err != nil {
		t.Fatal(err)
	}
	_ = hba.Close()
	got, err := g.ConfigErrors(ctx)
	want := []facts.ConfigError{
		{File: filepath.Join(s.data, "pg_hba.conf"), Message: "end-of-line before role specification"},
		{File: filepath.Join(s.data, "postgresql.conf"), Name: "work_mem", Message: "setting could not be applied"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(facts.ConfigError{}, "Line")); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	for _, e := range got {
		if e.Line == 0 {
			t.Errorf("no line: %+v", e)
		}
	}
}

func TestPendingRestartAndArchiverAreSeen(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.set("archive_mode", "on")
	s.set("archive_command", "'exit 1'")
	s.start()
	g, _ := s.gatherer()
	s.set("max_connections", "123")
	g.exec(t, "select pg_reload_conf()", "select pg_switch_wal()")
	ctx := contextOf(t)
	f := gather(t, g)
	for !f.Server.Archiver.Failing() || len(f.Server.PendingRestart) == 0 {
		if ctx.Err() != nil {
			t.Fatalf("%+v", f.Server)
		}
		f = gather(t, g)
	}
	if diff := cmp.Diff([]string{"max_connections"}, f.Server.PendingRestart); diff != "" {
		t.Error(diff)
	}
	if a := f.Server.Archiver; a.Mode != "on" || a.FailedFile == "" || a.LastArchived != nil {
		t.Errorf("archiver: %+v", a)
	}
}
