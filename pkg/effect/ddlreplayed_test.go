package effect_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Who is left behind gets no reads. A connection that is cut says nothing of the standby.
func TestAStandbyWhoseConnectionIsCutIsAskedAgainAndNotLeftBehind(t *testing.T) {
	t.Parallel()
	cut := hosttest.Call{Do: progress, Err: &fault.Error{Class: fault.Unreachable, Host: "pg2", Err: errors.New("ssh: connection lost")}}
	there := hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/8000000", "null")}
	for name, c := range map[string]struct {
		calls []hosttest.Call
		late  bool
		took  time.Duration // at most
	}{
		"once":     {[]hosttest.Call{cut, there}, false, time.Second},
		"for good": {slices.Repeat([]hosttest.Call{cut}, 42), true, 12 * time.Second},
		"its server is down: it is not waited for": {[]hosttest.Call{{Do: progress, Err: &host.SQLError{Code: "57P03", Message: "the database system is shutting down"}}}, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				in := onPG2(t, c.calls...)
				in.known = effect.Output{effect.DDLPosition: "0/8000000"}
				began := time.Now()
				out := do(t, &effect.AwaitDDL{Host: "pg2", Version: postgres.MakeVersion(15), Timeout: time.Minute}, in)
				if late := out[effect.DDLLate+"pg2"] != ""; late != c.late || late != (len(in.warnings) > 0) {
					t.Errorf("%v, warned of %v", out, in.warnings)
				}
				if took := time.Since(began); took > c.took {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// That it has the change by now does not bring its reads back: to go on does.
func TestAStandbyThatWasLeftBehindAndGetsNoReadsIsNoSuccess(t *testing.T) {
	t.Parallel()
	for _, reads := range []bool{true, false} {
		row := hosttest.Call{Do: progress, Out: standbyRow("not paused", "0/8000000", "null")}
		in := onPG2(t, row, row)
		in.known = effect.Output{effect.DDLPosition: "0/8000000", effect.DDLLate + "pg2": "not within 1m0s"}
		e := &effect.ProveDDL{Host: "pg1", Database: "shop", Standbys: []effect.Replaying{{Host: "pg2", Version: postgres.MakeVersion(15)}}, Timeout: time.Minute, Reads: reads}
		_, err := e.Do(t.Context(), in)
		if failed := err != nil && strings.Contains(err.Error(), "it gets no reads yet"); failed != reads || !reads && err != nil {
			t.Errorf("there are balancers: %t: %v", reads, err)
		}
	}
}
