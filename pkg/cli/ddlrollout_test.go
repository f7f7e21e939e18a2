package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

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
	// pg4 does not answer.
	if out, err := keptOut(t.Context(), d, standbys, "/run/out"); !slices.Equal(out, []string{"pg3"}) || err != nil {
		t.Errorf("%v, %v", out, err)
	}
	d["pg4"] = unlooked{err: &fault.Error{Class: fault.Unreachable, Host: "pg4", Err: errors.New("connection lost")}}
	if _, err := keptOut(t.Context(), d, standbys, "/run/out"); err != nil {
		t.Errorf("lost meanwhile: %v", err)
	}
	d["pg4"] = unlooked{err: errors.New("stat /run/out: permission denied")}
	_, err := keptOut(t.Context(), d, standbys, "/run/out")
	if fault.ClassOf(err) != fault.Refused || !strings.HasPrefix(err.Error(), "pg4: whether /run/out keeps reads away from it cannot be told: ") {
		t.Errorf("%v", err)
	}
}
