package effect_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// back is the inverse of a drain around a schema change, as a journal has it.
func back(t *testing.T) effect.Effect {
	t.Helper()
	e := &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "ready", After: &effect.Replaying{Host: "pg2", Version: postgres.MakeVersion(15)}}
	raw, err := effect.Encode(e.Inverse())
	if err != nil {
		t.Fatal(err)
	}
	out, err := effect.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadsComeBackOnceTheChangeIsReplayed(t *testing.T) {
	t.Parallel()
	ready := append(append(haproxy("8", "0"), hosttest.Call{Do: "tell /run/s set server reads/pg2 state ready"}), haproxy("0", "0")...)
	is := func(lsn string) hosttest.Call {
		return hosttest.Call{Do: progress, Out: standbyRow("not paused", lsn, "null")} // it has received 0/9000000
	}
	// Nothing comes to it, and it has replayed all that came.
	cut := hosttest.Call{Do: progress, Out: `[{"in_recovery": true, "state": "not paused", "receive": "0/7000000", "replay": "0/7000000", "replayed_at": null, "now": "2026-11-26T07:11:00+00:00", "waits": null, "receiver": ""}]`}
	down := hosttest.Call{Do: progress, Err: &host.SQLError{Code: "57P03", Message: "the database system is shutting down"}}
	for name, c := range map[string]struct {
		known map[string]string
		pg    []hosttest.Call
		stays bool
	}{
		"nothing was run yet":                    {},
		"it is rolled back":                      {known: map[string]string{effect.DDLXid: ""}},
		"it is committed":                        {known: map[string]string{effect.DDLXid: "700", effect.DDLPosition: "0/8000000"}, pg: []hosttest.Call{is("0/7000000"), is("0/8000000")}},
		"it may be, and what is received counts": {known: map[string]string{effect.DDLXid: "700"}, pg: []hosttest.Call{is("0/8000000"), is("0/9000000")}},
		"it may be, and nobody answers":          {known: map[string]string{effect.DDLXid: "700"}, pg: []hosttest.Call{down}},
		"it is committed, and nothing comes to it": {known: map[string]string{effect.DDLXid: "700", effect.DDLPosition: "0/8000000"},
			pg: slices.Repeat([]hosttest.Call{cut}, 38), stays: true},
		"it is committed, and was waited for": {known: map[string]string{effect.DDLXid: "700", effect.DDLPosition: "0/8000000", effect.DDLLate + "pg2": "not within 1m0s"},
			pg: slices.Repeat([]hosttest.Call{cut}, 2), stays: true},
		"it is committed, and nobody answers": {known: map[string]string{effect.DDLXid: "700", effect.DDLPosition: "0/8000000"}, pg: []hosttest.Call{down}, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lb, pg := ready, c.pg
			if c.stays {
				lb = nil
			}
			if pg != nil {
				pg = append([]hosttest.Call{{Do: "connect"}}, pg...)
			}
			synctest.Test(t, func(t *testing.T) {
				in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), lb...), hosttest.NewScript(t, "pg2", hosttest.NewFS(), pg...))
				in.known = c.known
				if _, err := back(t).Do(t.Context(), in); c.stays != errors.Is(err, effect.ErrNotYet) || !c.stays && err != nil {
					t.Errorf("got %v", err)
				}
				if c.stays != (len(in.warnings) == 1) {
					t.Errorf("warned of %q", in.warnings)
				}
			})
		})
	}
}
