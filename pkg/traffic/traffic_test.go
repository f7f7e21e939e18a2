package traffic_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/traffic"
)

// Answers of HAProxy 2.6.12.
const (
	states = `1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change
2 reads 1 pg2 10.0.0.12 2 0 1 1 8
2 reads 2 pg3 10.0.0.13 2 8 1 1 8
2 reads 3 pg4 10.0.0.14 2 1 1 1 8
2 reads 4 pg5 10.0.0.15 0 0 1 1 8
2 reads 5 pg6 10.0.0.16 0 4 1 1 8
2 reads 6 pg7 10.0.0.17 2 0 0 100 8
2 reads 7 pg8 10.0.0.18 0 0 0 100 8
2 reads 8 pg9 10.0.0.19 2 8 0 100 8

`
	statHeader = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,status,weight,act,bck\n"
	stat       = statHeader + `reads,pg2,0,0,3,5,,17,1,1,,0,,0,0,0,0,UP,1,1,0
reads,pg3,0,0,1,5,,17,1,1,,0,,0,0,0,0,DRAIN,1,1,0
reads,pg4,0,0,0,5,,17,1,1,,0,,0,0,0,0,MAINT,1,1,0
reads,pg5,0,0,0,5,,17,1,1,,0,,0,0,0,0,DOWN,1,1,0
reads,pg6,0,0,0,5,,17,1,1,,0,,0,0,0,0,MAINT,1,0,1
reads,pg7,0,0,2,5,,17,1,1,,0,,0,0,0,0,DRAIN,0,1,0
reads,pg8,0,0,0,5,,17,1,1,,0,,0,0,0,0,DOWN,0,1,0
reads,pg9,0,0,0,5,,17,1,1,,0,,0,0,0,0,DRAIN,0,1,0

`
)

func TestHAProxyTellsOfEveryServer(t *testing.T) {
	t.Parallel()
	got, err := traffic.ReadHAProxy("reads", states+stat)
	if err != nil {
		t.Fatal(err)
	}
	want := []facts.Balanced{
		{Backend: "reads", Name: "pg2", State: facts.Serving, Admin: "ready", Sessions: 3},
		{Backend: "reads", Name: "pg3", State: facts.Drained, Admin: "drain", Sessions: 1},
		{Backend: "reads", Name: "pg4", State: facts.Drained, Admin: "maint"},
		{Backend: "reads", Name: "pg5", State: facts.CheckFails, Admin: "ready"},
		// In maintenance by the configuration file: to say "ready" would not help.
		{Backend: "reads", Name: "pg6", State: facts.Drained, Admin: "ready", Backup: true},
		// Its check passes, and nobody has drained it; it gets no session all the same.
		{Backend: "reads", Name: "pg7", State: facts.Weightless, Admin: "ready", Sessions: 2},
		{Backend: "reads", Name: "pg8", State: facts.CheckFails, Admin: "ready"},
		{Backend: "reads", Name: "pg9", State: facts.Drained, Admin: "drain"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	h := &facts.Host{Balanced: got}
	if d := cmp.Diff([]string{"pg2"}, h.OthersServing("reads", "pg3")); d != "" {
		t.Errorf("others than pg3:\n%s", d)
	}
	if others := h.OthersServing("reads", "pg2"); len(others) > 0 {
		t.Errorf("others than pg2: %v", others)
	}
	if h.Balances("reads", "pg10").State != facts.NotListed || h.Balances("writes", "pg2").State != facts.NotListed {
		t.Error("a server that is not there is listed")
	}
}

// SRV_ST_STARTING is up, if throttled; SRV_ST_STOPPING gets no new session.
func TestAServerInItsSlowstartServes(t *testing.T) {
	t.Parallel()
	for oper, want := range map[string]facts.BalanceState{"1": facts.Serving, "3": facts.CheckFails} {
		got, err := traffic.ReadHAProxy("reads", strings.Replace(states, "pg2 10.0.0.12 2 ", "pg2 10.0.0.12 "+oper+" ", 1)+stat)
		if err != nil || got[0].State != want {
			t.Errorf("srv_op_state %s: %v, %v", oper, got, err)
		}
	}
}

// A frontend may be called as its backend is, and show stat takes the first of a name.
func TestSessionsAreThoseOfTheBackend(t *testing.T) {
	t.Parallel()
	if got := traffic.ShowHAProxy("reads"); got != "show servers state reads; show stat -1 4 -1" {
		t.Error(got)
	}
	got, err := traffic.ReadHAProxy("reads", states+strings.TrimSpace(stat)+"\nwrites,pg2,0,0,9,9,,17,1,1,,0,,0,0,0,0,UP,1,1,0\n\n")
	if err != nil || got[0].Sessions != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]string{
		"no backend":        "Can't find backend.\n\n" + stat,
		"permission denied": "Permission denied\n\n" + stat,
		"nothing":           "",
		"one":               states,
		"not a number":      strings.Replace(states, " 2 8 1", " 2 x 1", 1) + stat,
		"no server's row":   states + statHeader,
		"one has no row":    states + strings.Replace(stat, "reads,pg5,", "reads,pg50,", 1),
		"another backend's": states + strings.ReplaceAll(stat, "reads,", "writes,"),
		"sessions":          states + strings.Replace(stat, "pg2,0,0,3", "pg2,0,0,", 1),
	} {
		if got, err := traffic.ReadHAProxy("reads", answers); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestACommandThatAnswersWasNotDone(t *testing.T) {
	t.Parallel()
	h := hosttest.NewScript(t, "lb", hosttest.NewFS(),
		hosttest.Call{Do: "tell /run/s as haproxy set server reads/pg2 state drain"},
		hosttest.Call{Do: "tell /run/s as haproxy set server reads/pg9 state drain", Out: "No such server.\n\n"})
	talk := traffic.Talk{Host: h, As: "haproxy", Socket: "/run/s"}
	if err := talk.Tell(t.Context(), traffic.SetHAProxy("reads", "pg2", "drain")); err != nil {
		t.Error(err)
	}
	err := talk.Tell(t.Context(), traffic.SetHAProxy("reads", "pg9", "drain"))
	if err == nil || !strings.Contains(err.Error(), "No such server.") {
		t.Errorf("got %v", err)
	}
}

func TestCommandOfTheUsersOwn(t *testing.T) {
	t.Parallel()
	if d := cmp.Diff([]string{"lb", "100%", "--server=shop/pg2"}, traffic.Command([]string{"lb", "100%%", "--server=%h"}, "shop/pg2")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for answer, want := range map[string]facts.Balanced{
		"serving\n":   {Name: "pg2", State: facts.Serving, Sessions: -1},
		"drained 0\n": {Name: "pg2", State: facts.Drained},
	} {
		if got, err := traffic.ReadCommand("pg2", answer); err != nil || got != want {
			t.Errorf("%q: %+v, %v", answer, got, err)
		}
	}
	for _, answer := range []string{"", "up", "drained -1", "serving many", "serving 1 2"} {
		if got, err := traffic.ReadCommand("pg2", answer); err == nil {
			t.Errorf("%q: %+v", answer, got)
		}
	}
}
