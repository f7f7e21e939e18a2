package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sql(t *testing.T, l *Lab, name, query string) string {
	t.Helper()
	return in(t, l, name, "runuser", "-u", "postgres", "--", "psql", "-XAtqc", query)
}

func TestClusterOfDebiansLayout(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Cluster: true})
	want := "on|on|UTF8|*|/var/lib/postgresql/15/main"
	settings := "select string_agg(setting, '|' order by n) from unnest('{data_checksums,ssl,server_encoding,listen_addresses,data_directory}'::text[]) with ordinality u(name, n) join pg_settings using (name)"
	if diff := cmp.Diff(want, sql(t, l, "h1", settings)); diff != "" {
		t.Error(diff)
	}
	// It listens for the other hosts, and lets nobody in.
	out, err := l.Exec(t.Context(), "h2", []string{"psql", "-XAtc", "select 1", "host=h1 user=postgres sslmode=require"}, "")
	if err == nil || !strings.Contains(err.Error(), "no pg_hba.conf entry") {
		t.Errorf("login from h2: %q %v", out, err)
	}

	// The standby: known, configured, stopped, empty.
	if got := strings.Fields(in(t, l, "h2", "pg_lsclusters", "--no-header")); len(got) < 6 || got[3] != "down" || got[5] != "/var/lib/postgresql/15/main" {
		t.Errorf("pg_lsclusters: %q", got)
	}
	if got := in(t, l, "h2", "stat", "--format=%U %a", "/var/lib/postgresql/15/main"); got != "postgres 700" {
		t.Errorf("data directory: %q", got)
	}
	if got := in(t, l, "h2", "ls", "-A", "/var/lib/postgresql/15/main"); got != "" {
		t.Errorf("data directory holds %q", got)
	}
	in(t, l, "h2", "test", "-f", "/etc/postgresql/15/main/pg_hba.conf")

	// A power cut: crash recovery, and the cluster is up when Start returns.
	sql(t, l, "h1", "create table t as select 1 as i")
	do(t, l.Kill(t.Context(), "h1"))
	do(t, l.Kill(t.Context(), "h2"))
	do(t, l.Start(t.Context(), "h1"))
	if got := sql(t, l, "h1", "select i from t"); got != "1" {
		t.Errorf("after the power cut: %q", got)
	}
	// A standby that cannot start does not keep its host from booting.
	do(t, l.Start(t.Context(), "h2"))
}

func TestClusterOfTheDataDirectoryLayout(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Cluster: true, Layout: DataDirectory})
	if got := sql(t, l, "h1", "select current_setting('config_file') || ' ' || current_setting('ssl') || ' ' || current_setting('data_checksums')"); got != "/var/lib/postgresql/15/data/postgresql.conf on on" {
		t.Errorf("got %q", got)
	}
	if got := in(t, l, "h2", "find", "/var/lib/postgresql/15", "/etc/postgresql", "-mindepth", "1"); got != "" {
		t.Errorf("standby has %q", got)
	}
	if got := in(t, l, "h2", "stat", "--format=%U", "/var/lib/postgresql/15"); got != "postgres" {
		t.Errorf("parent directory belongs to %q", got)
	}
}

func TestBareLabHasNoCluster(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	if got := in(t, l, "h1", "pg_lsclusters", "--no-header"); got != "" {
		t.Errorf("there is %q", got)
	}
	if got := in(t, l, "h1", "find", "/var/lib/postgresql", "-mindepth", "1", "-not", "-path", "*/.ssh*"); got != "" {
		t.Errorf("there is %q", got)
	}
}
