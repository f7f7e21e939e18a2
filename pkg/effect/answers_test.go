package effect_test

import (
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

var shuttingDown = call{Do: "connect", Err: &host.SQLError{Code: "57P03", Message: "the database system is shutting down"}}

// pg_ctl has given up on a long shutdown, or the tool was killed in it: a server that refuses
// sessions because it ends is not one that was started again.
func TestTheUndoingOfAStopWaitsUntilTheServerHasEnded(t *testing.T) {
	t.Parallel()
	_, in := script(t, shuttingDown, shuttingDown, call{Do: "connect", Err: host.ErrNoServer}, call{Do: "run ctl start"},
		call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":false}]`}, call{Do: "close"})
	do(t, service("stop", effect.ExpectPrimary).Inverse(), in)
}

func TestTheUndoingOfAStopLeavesAServerThatWasOnlyStartingUp(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect", Err: &host.SQLError{Code: "57P03", Message: "the database system is starting up"}}, call{Do: "connect"}, call{Do: "close"})
	do(t, service("stop", effect.ExpectPrimary).Inverse(), in)
}

func TestTheUndoingOfAStopIsNotDoneWhileTheServerShutsDown(t *testing.T) {
	t.Parallel()
	_, in := script(t, shuttingDown, shuttingDown)
	e := service("stop", effect.ExpectPrimary)
	e.Timeout, e.Control.Log = 4*time.Millisecond, "" // the pause between two looks is longer
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: start the server: for 4ms it neither took sessions nor ended: connect to the server of pg1: the database system is shutting down (SQLSTATE 57P03)", fault.Failed)
}

// What a standby has on its own disk it replays first: until that is done it needs nothing.
func TestAStandbyThatComesBackIsNotGivenUpWhileItReplays(t *testing.T) {
	t.Parallel()
	at := func(lsn string) []call {
		return []call{{Do: senders, Out: `[]`}, {Do: "connect"}, {Do: "query select pg_last_wal_replay_lsn()::text as replay", Out: `[{"replay":"` + lsn + `"}]`},
			{Do: "query select f.name…", Out: `[{"name":"000000010000000000000006","size":16777216}]`}, {Do: "close"}}
	}
	calls := []call{{Do: "connect"}, {Do: "query select pg_conf_load_time()…", Out: `[{"at":"1"}]`}, {Do: "exec select pg_reload_conf()"}, {Do: "query select pg_conf_load_time()…", Out: `[{"at":"2"}]`}, {Do: "connect"}, {Do: "close"}, {Do: "connect"}, {Do: "close"}}
	calls = append(calls, at("0/3000000")...)
	calls = append(calls, at("0/4000000")...)
	calls = append(calls, call{Do: senders, Out: `[{"state":"streaming"}]`})
	_, in := script(t, calls...)
	e := service("stop", effect.ExpectStandby)
	e.Rejoin = &effect.Rejoin{Upstream: "pg1", Application: "pg2", Version: 150000, Timeout: time.Minute}
	do(t, e.Inverse(), in)
}
