package verify

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// streaming is what the two servers answer, healthy if nothing is changed.
type streaming struct {
	sender, primary, standby, slot, position string
}

func healthy() streaming {
	return streaming{
		sender:   `[{"state":"streaming","mark":"a"}]`,
		primary:  `[{"system":"77","timeline":3,"recovery":false,"paused":false}]`,
		standby:  `[{"system":"77","timeline":3,"recovery":true,"paused":false}]`,
		slot:     `[{"active":true}]`,
		position: `[{"receive":"0/9000","replay":"0/5000","paused":false}]`,
	}
}

// calls are those of a level stream; without a position when none is asked for.
func (x streaming) calls(v postgres.Version, positions bool) (primary, standby []hosttest.Call) {
	primary = []hosttest.Call{
		{Do: "connect"},
		{Do: "query " + v.SenderProgress() + " [pg2]", Out: x.sender},
		{Do: "query " + v.Identity(), Out: x.primary},
		{Do: "query select active from pg_replication_slots…", Out: x.slot},
	}
	standby = []hosttest.Call{{Do: "connect"}, {Do: "query " + v.Identity(), Out: x.standby}}
	if positions {
		primary = append(primary, hosttest.Call{Do: "query select case when pg_is_in_recovery() then " + v.LastReplay() + " else " + v.CurrentWAL() + " end as lsn", Out: `[{"lsn":"0/5000"}]`})
		standby = append(standby, hosttest.Call{Do: "query " + positionQuery(v), Out: x.position})
	}
	return append(primary, hosttest.Call{Do: "close"}), append(standby, hosttest.Call{Do: "close"})
}

func TestStreamingStandbyIsProvedOnEveryVersion(t *testing.T) {
	t.Parallel()
	for _, major := range []string{"9.4", "9.6", "10", "15", "18"} {
		v, err := postgres.ParseVersion(major)
		if err != nil {
			t.Fatal(err)
		}
		primary, standby := healthy().calls(v, true)
		r, err := Run(t.Context(), scripts(t, primary, standby), subject(v), []Level{Stream}, nil, patient)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]Result{"recovery": OK, "system": OK, "timeline": OK, "pause": OK, "sender": OK, "slot": OK, "replay": OK}
		if major == "9.4" {
			want["system"] = NotPossible
			delete(want, "timeline")
		}
		if d := cmp.Diff(want, results(r)); d != "" || !r.OK {
			t.Errorf("%s: %s", major, d)
		}
	}
}

func TestWhatKeepsAStandbyFromStreamingIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage    func(*streaming)
		check     string
		says      string
		positions bool
	}{
		"no walsender":       {func(x *streaming) { x.sender = "[]" }, "sender", "there is no walsender for pg2", false},
		"it catches up":      {func(x *streaming) { x.sender = `[{"state":"catchup","mark":""}]` }, "sender", "in state catchup", false},
		"two of its name":    {func(x *streaming) { x.sender = `[{"state":"streaming"},{"state":"streaming"}]` }, "sender", "2 walsenders", false},
		"not in recovery":    {func(x *streaming) { x.standby = strings.Replace(x.standby, "true", "false", 1) }, "recovery", "not in recovery", false},
		"another system":     {func(x *streaming) { x.standby = strings.Replace(x.standby, "77", "78", 1) }, "system", "78, that of pg1 is 77", true},
		"another timeline":   {func(x *streaming) { x.standby = strings.Replace(x.standby, "3", "4", 1) }, "timeline", "timeline 4, pg1 is on 3", true},
		"replay is paused":   {func(x *streaming) { x.standby = strings.Replace(x.standby, `"paused":false`, `"paused":true`, 1) }, "pause", "replay is paused", false},
		"slot not in use":    {func(x *streaming) { x.slot = `[{"active":false}]` }, "slot", "not in use", true},
		"no slot":            {func(x *streaming) { x.slot = "" }, "slot", "pg1 has no slot pg2", true},
		"replay stands":      {func(x *streaming) { x.position = strings.Replace(x.position, "0/5000", "0/4fff", 1) }, "replay", "did not replay 0/5000 within 1ns: it is at 0/4FFF", true},
		"replay never began": {func(x *streaming) { x.position = strings.Replace(x.position, `"0/5000"`, "null", 1) }, "replay", "it is at 0/0", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := healthy()
			c.damage(&x)
			primary, standby := x.calls(150000, c.positions)
			r, err := Run(t.Context(), scripts(t, primary, standby), subject(150000), []Level{Stream}, nil, expired)
			if err != nil {
				t.Fatal(err)
			}
			got := find(t, r, c.check)
			if r.OK || got.Result != Failed || !strings.Contains(got.Detail, c.says) {
				t.Errorf("%+v", r)
			}
			for _, other := range r.Checks {
				if other.Name != c.check && other.Result == Failed {
					t.Errorf("failed too: %+v", other)
				}
			}
		})
	}
}

func TestDelayedStandbyIsProvedByWhatItReceives(t *testing.T) {
	t.Parallel()
	x := healthy()
	x.position = `[{"receive":"0/5000","replay":"0/1000","paused":true}]`
	x.standby = strings.Replace(x.standby, `"paused":false`, `"paused":true`, 1)
	primary, standby := x.calls(150000, true)
	s := subject(150000)
	s.Delayed = true
	r, err := Run(t.Context(), scripts(t, primary, standby), s, []Level{Stream}, nil, expired)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || find(t, r, "receive").Result != OK {
		t.Errorf("%+v", r)
	}
}

func TestStandbyThatCatchesUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	x := healthy()
	primary, standby := x.calls(150000, true)
	busy := primary[1]
	busy.Out = `[{"state":"catchup","mark":"1"}]`
	primary = append([]hosttest.Call{primary[0], busy}, primary[1:]...)
	behind := standby[2]
	behind.Out = `[{"receive":"0/9000","replay":"0/1000","paused":false}]`
	standby = append(standby[:2:2], append([]hosttest.Call{behind}, standby[2:]...)...)
	r, err := Run(t.Context(), scripts(t, primary, standby), subject(150000), []Level{Stream}, nil, patient)
	if err != nil || !r.OK {
		t.Errorf("%+v, %v", r, err)
	}
}
