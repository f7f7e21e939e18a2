package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/ddl/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// deploying is a part of a script whose relations are all as large, or as unknown, as that.
func deploying(t *testing.T, script string, size int64) (*deployment, ddl.Part) {
	t.Helper()
	s, err := ddl.Parse("change.sql", []byte(script), 150000)
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{o: rollout{maxStale: time.Minute}}
	var seen []string
	for _, st := range s.Statements {
		for _, n := range st.Targets {
			if !n.Made && !slices.Contains(seen, n.String()) { // as live.Relations does
				seen = append(seen, n.String())
				d.relations = append(d.relations, live.Relation{As: n, Exists: true, OID: int64(16384 + len(seen)), Bytes: size, Holders: []live.Holder{{PID: 7, User: "ann", Mode: "AccessExclusiveLock"}}})
			}
		}
	}
	parts := s.Parts()
	return d, parts[len(parts)-1]
}

func TestATableThatIsWrittenAnewCountsHoweverItIsNamedBefore(t *testing.T) {
	t.Parallel()
	const script = "alter table if exists items add column a int;\nalter table items alter column b type bigint;"
	d, p := deploying(t, script, 1<<40)
	if err := d.tooLong(p); err == nil || !strings.Contains(err.Error(), "--max-stale") {
		t.Errorf("a TiB within a minute: %v", err)
	}
	if got := d.quiet(p); got != "16385" {
		t.Errorf("looked for readers of %q", got)
	}
	d, p = deploying(t, script, 1<<20)
	if err := d.tooLong(p); err != nil {
		t.Errorf("a MiB: %v", err)
	}
	d, p = deploying(t, script, -1)
	if err := d.tooLong(p); err == nil || !strings.Contains(err.Error(), "is not known: somebody has locked it") || !strings.Contains(err.Error(), "ann") {
		t.Errorf("of unknown size: %v", err)
	}
}

// doors are hosts by their names; one that is not among them does not answer.
type doors map[string]host.Host

func (d doors) Dial(_ context.Context, name string) (host.Host, error) {
	if h, ok := d[name]; ok {
		return h, nil
	}
	return nil, &fault.Error{Class: fault.Unreachable, Host: name, Op: "connect", Err: errors.New("no route to host")}
}

// unlooked is a host whose files cannot be looked for.
type unlooked struct {
	host.Host
	err error
}

func (u unlooked) Files(string) host.Files { return blindFiles{err: u.err} }

type blindFiles struct {
	host.Files
	err error
}

func (f blindFiles) Stat(context.Context, string) (host.Entry, error) { return host.Entry{}, f.err }

func TestARolloutIsRefusedWhereAHealthFileCannotBeLookedFor(t *testing.T) {
	t.Parallel()
	serves, drained := hosttest.NewFS("/run"), hosttest.NewFS("/run")
	drained.Put("/run/out", "root", 0o600, "")
	d := doors{"pg2": hosttest.NewScript(t, "pg2", serves), "pg3": hosttest.NewScript(t, "pg3", drained)}
	var standbys []*inventory.Host
	for _, name := range []string{"pg2", "pg3", "pg4"} {
		standbys = append(standbys, &inventory.Host{Name: name, Role: inventory.Standby, Postgres: inventory.Postgres{OSUser: "postgres"}})
	}
	bound := func(inventory.SSH) time.Duration { return time.Minute }
	// pg4 does not answer.
	if out, err := keptOut(lookForFile(t.Context(), d, standbys, "/run/out", bound)); !slices.Equal(out, []string{"pg3"}) || err != nil {
		t.Errorf("%v, %v", out, err)
	}
	d["pg4"] = unlooked{err: &fault.Error{Class: fault.Unreachable, Host: "pg4", Err: errors.New("connection lost")}}
	if _, err := keptOut(lookForFile(t.Context(), d, standbys, "/run/out", bound)); err != nil {
		t.Errorf("lost meanwhile: %v", err)
	}
	d["pg4"] = unlooked{err: errors.New("stat /run/out: permission denied")}
	_, err := keptOut(lookForFile(t.Context(), d, standbys, "/run/out", bound))
	if fault.ClassOf(err) != fault.Refused || !strings.HasPrefix(err.Error(), "pg4: whether /run/out keeps reads away from it cannot be told: ") {
		t.Errorf("%v", err)
	}
}

// "$user" in search_path is CURRENT_USER, which SET ROLE changes: app.items is what is changed.
func TestNamesAreLookedForAsTheRoleThatRunsTheScript(t *testing.T) {
	t.Parallel()
	version := hosttest.Call{Do: "query select current_setting('server_version_num')::int as version", Out: `[{"version": 150004}]`}
	relation := hosttest.Call{Do: "query with recursive part as ( select to_regclass('items')::oid…", Out: `[{"schema": "app", "name": "items", "kind": "table"}]`}
	look := []hosttest.Call{version, {Do: "exec set lock_timeout = '2s'"}, relation, {Do: "query select coalesce(l.pid, 0) as pid…", Out: "[]"}}
	become := hosttest.Call{Do: `exec SET ROLE "app"; select set_config('search_path', array_to_string(array(select quote_ident(s) from unnest(current_schemas(false)) s), ', '), false); RESET ROLE`}
	reset := hosttest.Call{Do: "exec RESET search_path"}
	refused := become
	refused.Err = &host.SQLError{Code: "42501", Message: `permission denied to set role "app"`} // the preview says what to do
	for role, calls := range map[string][][]hosttest.Call{
		"":    {look},
		"app": {slices.Concat([]hosttest.Call{become}, look, []hosttest.Call{reset}), slices.Concat([]hosttest.Call{refused}, look, []hosttest.Call{reset})},
	} {
		for _, c := range calls {
			h := hosttest.NewScript(t, "pg1", hosttest.NewFS("/tmp"), slices.Concat([]hosttest.Call{{Do: "connect"}}, c, []hosttest.Call{{Do: "close"}})...)
			sql, err := h.SQL(t.Context(), host.Database{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := askAs(t.Context(), sql, role, ddlCheck{file: "x.sql"}, []byte("alter table items add column note text"))
			if err != nil || len(r.Relations) != 1 || r.Relations[0].Schema != "app" {
				t.Errorf("as %q: %+v, %v", role, r, err)
			}
			if err := sql.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	lost := become
	lost.Err = errors.New("the connection is lost")
	h := hosttest.NewScript(t, "pg1", hosttest.NewFS("/tmp"), hosttest.Call{Do: "connect"}, lost)
	sql, err := h.SQL(t.Context(), host.Database{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := askAs(t.Context(), sql, "app", ddlCheck{file: "x.sql"}, nil); err == nil {
		t.Error("no error")
	}
}

// PgBouncer knows no standby: it says of none that it serves, and nobody can be moved.
func TestBehindPgBouncerAloneNobodyIsKnownToServe(t *testing.T) {
	t.Parallel()
	for balancers, want := range map[string]ddl.Pool{
		"    pool: {kind: pgbouncer, address: 10.0.0.8}\n":                                              {Others: []string{"pg2", "pg3"}},
		"    pool: {kind: pgbouncer, address: 10.0.0.8}\n    check: {kind: file, path: /run/drained}\n": {Balancers: true, Serving: []string{"pg2"}},
	} {
		inv, err := inventory.Parse("pgrepctl.yaml", []byte(`cluster: shop
postgres: {version: 15, data_directory: /var/lib/postgresql/15/main}
replication: {password: {env: PW}}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby}
  pg3: {address: 10.0.0.13, role: standby}
traffic:
  balancers:
`+balancers))
		if err != nil {
			t.Fatal(err)
		}
		got := poolOf(inv, nil, map[string]bool{"pg3": true})
		got.NoPrimary = ""
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got:\n%s", balancers, d)
		}
	}
}
