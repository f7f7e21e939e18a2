package verify

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hosts are pg1, the primary, and pg2, its standby.
type hosts map[string]*hosttest.Script

func (h hosts) Host(_ context.Context, name string) (host.Host, error) { return h[name], nil }

func (h hosts) Database(context.Context, string) (host.Database, error) {
	return host.Database{As: "postgres", SocketDir: "/run/pg", Port: 5433, User: "boss"}, nil
}

// scripts makes hosts that are asked for exactly these calls.
func scripts(t *testing.T, primary, standby []hosttest.Call) hosts {
	t.Helper()
	return hosts{"pg1": hosttest.NewScript(t, "pg1", hosttest.NewFS(), primary...), "pg2": hosttest.NewScript(t, "pg2", hosttest.NewFS("/data"), standby...)}
}

func subject(v postgres.Version) Subject {
	server := func(name string, recovery bool) Server {
		f := &facts.Host{Name: name}
		f.Server = facts.Server{Running: true, Version: v, SystemID: "77", InRecovery: recovery}
		f.Data = facts.DataDir{Path: "/data", State: facts.Cluster, Version: v.Major()}
		f.Data.Control = postgres.Control{DataChecksumVersion: 1, State: postgres.ShutDownInRecovery}
		f.Machine.BinDirectory, f.Machine.OSUser = "/bin", "postgres"
		return Server{Name: name, Facts: f}
	}
	return Subject{Cluster: "shop", Standby: server("pg2", true), Upstream: server("pg1", false), Primary: server("pg1", false),
		Application: "pg2", Slot: "pg2", Stop: "stop it"}
}

// expired: whatever is not so at once is given up.
var (
	patient = Bounds{Wait: time.Minute, Lock: 2 * time.Second, MaxLock: 30 * time.Second}
	expired = Bounds{Wait: 1, Lock: 2 * time.Second, MaxLock: 30 * time.Second}
)

// results are the checks' names with their results.
func results(r Report) map[string]Result {
	out := map[string]Result{}
	for _, c := range r.Checks {
		name := c.Name
		if c.Table != "" {
			name = c.Table
		}
		out[name] = c.Result
	}
	return out
}

func find(t *testing.T, r Report, name string) Check {
	t.Helper()
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name || c.Table == name })
	if i < 0 {
		t.Fatalf("no check %s in %+v", name, r.Checks)
	}
	return r.Checks[i]
}

func TestLevelsComeFromTheCheapToTheThorough(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ words, want []string }{
		{[]string{"stream"}, []string{"stream"}},
		{[]string{"hashes", "stream", "hashes"}, []string{"stream", "hashes"}},
		{[]string{"all"}, []string{"stream", "amcheck"}}, // nobody's writes wait who did not say hashes
		{[]string{"hashes", "all"}, []string{"stream", "amcheck", "hashes"}},
		{[]string{"checksums"}, []string{"checksums"}},
	} {
		got, err := ParseLevels(c.words)
		if err != nil {
			t.Errorf("%v: %v", c.words, err)
		}
		var names []string
		for _, l := range got {
			names = append(names, string(l))
		}
		if d := cmp.Diff(c.want, names); d != "" {
			t.Errorf("%v: %s", c.words, d)
		}
	}
}

func TestLevelsThatCannotBeAreUsageErrors(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{{"strem"}, {""}, {"checksums", "stream"}, {"all", "checksums"}} {
		if _, err := ParseLevels(words); fault.ClassOf(err) != fault.Usage {
			t.Errorf("%v: %v", words, err)
		}
	}
}

func TestServerThatDoesNotRunFailsEveryLevelOfARunningOne(t *testing.T) {
	t.Parallel()
	s := subject(150000)
	s.Standby.Facts.Server = facts.Server{NotReady: "the database system is starting up"}
	r, err := Run(t.Context(), scripts(t, nil, nil), s, []Level{Stream, Amcheck, Hashes}, nil, patient)
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || len(r.Checks) != 3 || find(t, r, "server").Detail != "the server of pg2 accepts no session: the database system is starting up" {
		t.Errorf("%+v", r)
	}
}

func TestEndOfTheContextIsNoFinding(t *testing.T) {
	t.Parallel()
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	h := scripts(t, []hosttest.Call{{Do: "connect", Err: errors.New("closed"), Then: func() { cancel(stopped) }}}, nil)
	if _, err := Run(ctx, h, subject(150000), []Level{Stream}, nil, patient); !errors.Is(err, stopped) {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotPossibleIsNoFailureAndIsNotWhole(t *testing.T) {
	t.Parallel()
	r, err := Run(t.Context(), scripts(t, nil, nil), subject(130000), []Level{Amcheck}, nil, patient)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.Whole {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"format":"pgrepctl.verify/v1","cluster":"shop","host":"pg2","ok":true,"complete":false,"checks":[` +
		`{"level":"amcheck","check":"amcheck","result":"not possible","detail":"the server is of 13, and pg_amcheck came with 14"}]}`
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Error(d)
	}
}

func TestReportNamesTheTableWhoseWritersWaitedLongest(t *testing.T) {
	t.Parallel()
	seconds := func(s float64) *float64 { return &s }
	r := Report{Checks: []Check{
		{Result: OK, Database: "a", Table: "x", BlockedSeconds: seconds(0.5)},
		{Result: NotPossible, Database: "b", Table: "y", BlockedSeconds: seconds(2.04)}, // a lock that was not got kept them too
		{Result: OK, Database: "a", Table: "z", BlockedSeconds: seconds(1)},
		{Result: OK, Database: "c"},
	}}
	r.conclude()
	if r.Longest == nil || *r.Longest != (Blocked{Database: "b", Table: "y", Seconds: 2.04}) || r.Longest.String() != "2s" {
		t.Errorf("%+v", r.Longest)
	}
}
