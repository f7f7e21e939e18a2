package effect_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Below 9.6 no function tells of the control file, and a promotion cannot be tried
// twice.
func TestAPromotionIsFollowedByAQuestionThatTheServerKnows(t *testing.T) {
	t.Parallel()
	for major, timeline := range map[string]string{
		"9.4": "case when pg_is_in_recovery() then 0 else ('x' || substr(pg_xlogfile_name(pg_current_xlog_location()), 1, 8))::bit(32)::int end", "15": ""} {
		v, err := postgres.ParseVersion(major)
		if err != nil {
			t.Fatal(err)
		}
		if timeline == "" {
			timeline = v.Timeline()
		}
		e := &effect.Promote{Host: "pg1", Version: v, Timeline: 1, Timeout: time.Minute}
		tell := call{Do: "exec select pg_promote(false)"}
		if !v.PromoteFunction() {
			e.Command = effect.Command{Argv: []string{"pg_ctl", "promote"}}
			tell = call{Do: "run pg_ctl promote"}
		}
		_, in := script(t, call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, tell, call{Do: inRecovery, Out: `[{"in_recovery":false}]`},
			call{Do: "exec CHECKPOINT"}, call{Do: "query select " + timeline + " as timeline", Out: `[{"timeline":2}]`})
		if d := cmp.Diff(effect.Output{effect.PromotedTimeline("pg1"): "2"}, do(t, e, in)); d != "" {
			t.Errorf("%s: %s", major, d)
		}
	}
}
