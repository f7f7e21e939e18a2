package effect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// haproxy answers what one server of backend reads is, and how many sessions it has.
func haproxy(admin, sessions string) []hosttest.Call {
	return []hosttest.Call{
		{Do: "tell /run/s show servers state reads; show stat -1 4 -1",
			Out: "1\n# be_name srv_name srv_op_state srv_admin_state\nreads pg2 2 " + admin + "\n\n# pxname,svname,scur,bck\nreads,pg2," + sessions + ",0\n\n"},
	}
}

func clients(n string) hosttest.Call {
	return hosttest.Call{Do: "query select count(*) as count from pg_stat_activity…", Out: `[{"count": ` + n + `}]`}
}

func drained(t *testing.T, lb, pg []hosttest.Call) (*effect.AwaitDrained, *env) {
	t.Helper()
	v, err := postgres.ParseVersion("15")
	if err != nil {
		t.Fatal(err)
	}
	return &effect.AwaitDrained{Host: "pg2", Balancers: []effect.Balance{{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain"}}, Version: v, Timeout: time.Minute},
		newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), lb...), hosttest.NewScript(t, "pg2", hosttest.NewFS(), append([]hosttest.Call{{Do: "connect"}}, pg...)...))
}

func TestADrainIsDoneWhenNeitherSideSeesAnybodyThreeTimesRunning(t *testing.T) {
	t.Parallel()
	var lb []hosttest.Call
	var pg []hosttest.Call
	for _, seen := range [][2]string{{"1", "1"}, {"1", "0"}, {"0", "0"}, {"0", "1"}, {"0", "0"}, {"0", "0"}, {"0", "0"}} {
		lb, pg = append(lb, haproxy("8", seen[0])...), append(pg, clients(seen[1]))
	}
	e, in := drained(t, lb, pg)
	do(t, e, in)
}

func TestWhatComesNextFindsASessionThatWasOpenedDuringTheDrain(t *testing.T) {
	t.Parallel()
	var lb, pg []hosttest.Call
	for range 3 {
		lb, pg = append(lb, haproxy("8", "0")...), append(pg, clients("0"))
	}
	e, in := drained(t, lb, pg)
	in.hosts["pg1"] = hosttest.NewScript(t, "pg1", hosttest.NewFS(), hosttest.Call{Do: "connect"}, hosttest.Call{Do: "close"})
	e.Ahead = []effect.Session{{Host: "pg1", Database: "shop"}}
	do(t, e, in)
	if len(in.spared) != 1 || in.spared[0] != "pg1/shop" {
		t.Errorf("left for others: %v", in.spared)
	}
	// One that cannot be opened is no failure of the drain
	e, again := drained(t, lb, pg)
	e.Ahead = []effect.Session{{Host: "pg1", Database: "shop"}}
	do(t, e, again)
}

func TestADrainThatHAProxyForgotIsNoticed(t *testing.T) {
	t.Parallel()
	e, in := drained(t, append(haproxy("8", "1"), haproxy("0", "1")...), []hosttest.Call{clients("1")})
	if _, err := e.Do(t.Context(), in); err == nil || !strings.Contains(err.Error(), "reloaded HAProxy") {
		t.Errorf("got %v", err)
	}
}

func TestSessionsOfClientsThatReadAgainAreCutOnce(t *testing.T) {
	t.Parallel()
	lb := append(haproxy("8", "2"), hosttest.Call{Do: "tell /run/s shutdown sessions server reads/pg2"})
	pg := []hosttest.Call{clients("2")}
	for range 3 {
		lb, pg = append(lb, haproxy("8", "0")...), append(pg, clients("0"))
	}
	e, in := drained(t, lb, pg)
	e.CutAfter = time.Nanosecond
	do(t, e, in)
}

func TestADrainThatDoesNotEndSaysWhoIsLeft(t *testing.T) {
	t.Parallel()
	e, in := drained(t, haproxy("8", "3"), []hosttest.Call{clients("2")})
	e.Timeout = 0
	_, err := e.Do(t.Context(), in)
	if err == nil || !strings.Contains(err.Error(), "3 sessions at lb, 2 clients of the server") || fault.ClassOf(err) != fault.Failed {
		t.Errorf("got %v", err)
	}
}

func TestAServerIsPutBackAsItWasFound(t *testing.T) {
	t.Parallel()
	e := &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "maint"}
	raw, err := effect.Encode(e.Inverse())
	if err != nil {
		t.Fatal(err)
	}
	back, err := effect.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	lb := append(haproxy("8", "0"), hosttest.Call{Do: "tell /run/s set server reads/pg2 state maint"})
	do(t, back, newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), append(lb, haproxy("1", "0")...)...)))
}

func TestAStateThatHAProxyDidNotTakeIsAnError(t *testing.T) {
	t.Parallel()
	e := &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "ready"}
	lb := append(haproxy("0", "0"), hosttest.Call{Do: "tell /run/s set server reads/pg2 state drain"})
	in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), append(lb, haproxy("0", "0")...)...))
	if _, err := e.Do(t.Context(), in); err == nil {
		t.Error("no error")
	}
}

// withOther is haproxy with a second server, asked twice: for the sessions, and whether
// another one serves.
func withOther(state string) []hosttest.Call {
	calls := append(haproxy("8", "1"), haproxy("8", "1")...)
	for i := range calls {
		calls[i].Out = strings.Replace(calls[i].Out, "\n\n#", "\nreads pg3 "+state+" 0\n\n#", 1) + "reads,pg3,0,0\n"
	}
	return calls
}

// TestADrainIsNotWaitedForWhileNobodyServes: a moment without a server is no reason, and
// after the COMMIT, from where there is no way back, it goes on instead.
func TestADrainIsNotWaitedForWhileNobodyServes(t *testing.T) {
	t.Parallel()
	for _, goOn := range []bool{false, true} {
		var lb []hosttest.Call
		var pg []hosttest.Call
		for _, state := range []string{"0", "0", "2", "0", "0", "0"} {
			lb, pg = append(lb, withOther(state)...), append(pg, clients("1"))
		}
		e, in := drained(t, lb, pg)
		e.Others, e.GoOn = 1, goOn
		_, err := e.Do(t.Context(), in)
		if goOn && err != nil || !goOn && (err == nil || !strings.Contains(err.Error(), "no other server serves any more")) {
			t.Errorf("go on %t: %v", goOn, err)
		}
	}
}

// drainedByFile is a drain that no balancer can be asked of; pg3 is the other standby.
func drainedByFile(t *testing.T, pg, other []hosttest.Call, files ...string) (*effect.AwaitDrained, *env) {
	t.Helper()
	e, in := drained(t, nil, pg)
	e.Balancers, e.Others = nil, 1
	e.Files = []effect.HealthFile{{Host: "pg2", Path: "/run/drained", Others: map[string]string{"pg3": "postgres"}}}
	tree := hosttest.NewFS("/run")
	for _, f := range files {
		tree.Put(f, "postgres", 0o644, "by hand\n")
	}
	in.hosts["pg3"] = hosttest.NewScript(t, "pg3", tree, other...)
	return e, in
}

// TestADrainByFileIsNotWaitedForWhileNobodyServes: as with a balancer that can be asked.
func TestADrainByFileIsNotWaitedForWhileNobodyServes(t *testing.T) {
	t.Parallel()
	down := hosttest.Call{Do: "exec select 1", Err: errors.New("the database system is shutting down")}
	up := hosttest.Call{Do: "exec select 1"}
	for name, c := range map[string]struct {
		polls int
		other []hosttest.Call
		files []string
		goOn  bool
	}{
		"its server is down":                  {6, []hosttest.Call{{Do: "connect"}, down, down, up, down, down, down}, nil, false},
		"its server is down, and it goes on":  {6, []hosttest.Call{{Do: "connect"}, down, down, up, down, down, down}, nil, true},
		"somebody has drained the other, too": {3, nil, []string{"/run/drained"}, false},
		"its file is another":                 {4, []hosttest.Call{{Do: "connect"}, up, down, down, down}, []string{"/run/other"}, false},
	} {
		var pg []hosttest.Call
		for range c.polls {
			pg = append(pg, clients("1"))
		}
		e, in := drainedByFile(t, pg, c.other, c.files...)
		e.GoOn = c.goOn
		_, err := e.Do(t.Context(), in)
		if c.goOn && (err != nil || len(in.warnings) != 1) || !c.goOn && (err == nil || !strings.Contains(err.Error(), "no other server serves any more")) {
			t.Errorf("%s: %v, warned of %v", name, err, in.warnings)
		}
	}
}

// TestADrainByFileAsksTheOthersOnlyWhileSomebodyIsLeft: whom nobody reads from is drained,
// whoever else serves.
func TestADrainByFileAsksTheOthersOnlyWhileSomebodyIsLeft(t *testing.T) {
	t.Parallel()
	e, in := drainedByFile(t, []hosttest.Call{clients("1"), clients("0"), clients("0"), clients("0")}, answering())
	do(t, e, in)
	if got := e.Outlasts(); len(got) != 1 || got[0] != "pg3" {
		t.Errorf("old after it: %v", got)
	}
}

// TestADrainByFileThatIsStoppedDoesNotBlameTheOthers: nobody is asked any more then.
func TestADrainByFileThatIsStoppedDoesNotBlameTheOthers(t *testing.T) {
	t.Parallel()
	why := errors.New("stopped by the operator")
	ctx, stop := context.WithCancelCause(t.Context())
	e, in := drainedByFile(t, []hosttest.Call{clients("1"), clients("1"), clients("1")}, []hosttest.Call{{Do: "connect"},
		{Do: "exec select 1", Err: errors.New("down")}, {Do: "exec select 1", Err: errors.New("down")},
		{Do: "exec select 1", Err: context.Canceled, Then: func() { stop(why) }}})
	if _, err := e.Do(ctx, in); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// TestClientsLeaveWhenTheOperatorHasSaidSo: each is made to leave when its time has come, is
// made to again if it stays, and that is told of once.
func TestClientsLeaveWhenTheOperatorHasSaidSo(t *testing.T) {
	t.Parallel()
	var lb []hosttest.Call
	var pg []hosttest.Call
	press := func(cancelled, ended string) {
		pg = append(pg, hosttest.Call{Do: "query select count(pg_cancel_backend(pid)) as count from pg_stat_activity…", Out: `[{"count": ` + cancelled + `}]`},
			hosttest.Call{Do: "query select count(pg_terminate_backend(pid)) as count from pg_stat_activity…", Out: `[{"count": ` + ended + `}]`})
	}
	for i, left := range []string{"2", "1", "0", "0", "0"} {
		lb, pg = append(lb, haproxy("8", "0")...), append(pg, clients(left))
		switch i {
		case 0:
			press("1", "1")
		case 1:
			press("1", "0")
		case 2, 3:
			press("0", "0")
		}
	}
	e, in := drained(t, lb, pg)
	e.CancelAfter, e.EndIdleAfter = time.Nanosecond, time.Nanosecond
	do(t, e, in)
	if got := strings.Join(in.warnings, "; "); got != "after 1ns 1 statements were cancelled; after 1ns 1 idle sessions were ended" {
		t.Errorf("got %s", got)
	}
}

// TestTooFewOtherServersCountAsNone where more than one must serve.
func TestTooFewOtherServersCountAsNone(t *testing.T) {
	t.Parallel()
	var lb []hosttest.Call
	var pg []hosttest.Call
	for range 3 {
		lb, pg = append(lb, withOther("2")...), append(pg, clients("1"))
	}
	e, in := drained(t, lb, pg)
	e.Others = 2
	if _, err := e.Do(t.Context(), in); err == nil || !strings.Contains(err.Error(), "not 2 other servers serve any more") {
		t.Errorf("got %v", err)
	}
}

func TestADrainThatWouldLeaveTooFewServersTellsTheBalancerNothing(t *testing.T) {
	t.Parallel()
	lb := hosttest.NewScript(t, "lb", hosttest.NewFS(), haproxy("0", "1")...)
	e := &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "ready", Others: 1}
	_, err := e.Do(t.Context(), newEnv(lb))
	if fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "without pg2 0 servers would serve") {
		t.Errorf("got %v", err)
	}
}

// weighing is haproxy with the weight of now.
func weighing(weight string) []hosttest.Call {
	calls := haproxy("0", "0")
	calls[0].Out = strings.Replace(strings.Replace(calls[0].Out, "srv_admin_state\n", "srv_admin_state srv_uweight\n", 1), "pg2 2 0\n", "pg2 2 0 "+weight+"\n", 1)
	return calls
}

func TestReadsAreBackOnceTheAgentHasRaisedTheWeight(t *testing.T) {
	t.Parallel()
	in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), append(append(weighing("0"), weighing("0")...), weighing("100")...)...))
	do(t, &effect.AwaitServing{At: effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "ready", Was: "drain"}, Timeout: time.Minute}, in)
}

// TestAWeightThatStaysZeroIsToldOf: it is a failure, unless the server is put back as it was
// found, for then it may have been so.
func TestAWeightThatStaysZeroIsToldOf(t *testing.T) {
	t.Parallel()
	for _, found := range []bool{false, true} {
		in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), append(weighing("0"), weighing("0")...)[:map[bool]int{false: 2, true: 1}[found]]...))
		e := &effect.AwaitServing{At: effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "ready", Was: "drain"}, Timeout: map[bool]time.Duration{false: time.Millisecond, true: 0}[found], Found: found}
		_, err := e.Do(t.Context(), in)
		var f *fault.Error
		switch {
		case found && (err != nil || len(in.warnings) != 1 || !strings.Contains(in.warnings[0], "weight of 0")):
			t.Errorf("as found: %v, warned %v", err, in.warnings)
		case !found && (!errors.As(err, &f) || !strings.Contains(err.Error(), "still weight 0") || !strings.Contains(f.Hint, "set server reads/pg2 weight 100%")):
			t.Errorf("got %v", err)
		}
	}
}

// Somebody takes the server over while it is waited for, or had done so before this run could let
// reads in, which was told of then.
func TestAServerThatSomebodyElseKeepsAwayIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	at := effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "ready", Was: "drain"}
	maint := haproxy("1", "0")
	for _, c := range []struct {
		calls []hosttest.Call
		warns int
	}{
		{append(weighing("0"), maint...), 1},
		{maint, 0},
	} {
		in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), c.calls...))
		do(t, &effect.AwaitServing{At: at, Timeout: time.Minute}, in)
		if len(in.warnings) != c.warns {
			t.Errorf("warned %v", in.warnings)
		}
	}
}
