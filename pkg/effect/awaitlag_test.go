package effect_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// behind is a wait for pg2, which has replayed a MB more at each look, n times.
func behind(t *testing.T, n int) *env {
	t.Helper()
	pg2 := connected()
	for i := range n {
		pg2 = append(pg2, hosttest.Call{Do: progress, Out: standbyRow("not paused", fmt.Sprintf("0/%X", 0x1000000+i<<20), "null")})
	}
	return newEnv(hosttest.NewScript(t, "pg1", hosttest.NewFS(), flushedAt("0/3000000")...), hosttest.NewScript(t, "pg2", hosttest.NewFS(), pg2...))
}

// The primary is asked once: what it writes meanwhile is not waited for, or there would be
// no end to it.
func TestAStandbyThatIsBehindIsWaitedForUntilItHasWhatThereWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &effect.AwaitLag{Host: "pg2", Of: "pg1", Version: postgres.MakeVersion(15), Within: 16 << 20, Timeout: time.Minute, Longest: time.Hour}
		do(t, e, behind(t, 17))
	})
}

func TestAStandbyThatIsBehindIsNotWaitedForWithoutAnEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &effect.AwaitLag{Host: "pg2", Of: "pg1", Version: postgres.MakeVersion(15), Within: 16 << 20, Timeout: time.Minute, Longest: 16 * time.Millisecond}
		_, err := e.Do(t.Context(), behind(t, 4)) // at 0, 5, 11 and 18 ms
		if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "it is 29.0 MB behind where pg1 was, after 16ms") {
			t.Errorf("got %v", err)
		}
	})
}
