package cli

import (
	"errors"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// A standby is late by what its upstream has, and not by what that has replayed.
func TestReplayIsMeasuredAgainstTheWALOfTheUpstream(t *testing.T) {
	t.Parallel()
	server := func(recovery bool, lsn postgres.LSN, receive *postgres.LSN) status.Result {
		f := facts.New("pg2", nil)
		f.Server = facts.Server{Running: true, InRecovery: recovery, LSN: lsn, Replay: facts.Replay{Receive: receive}}
		return status.Result{Facts: f}
	}
	received, less := postgres.LSN(0x9000), postgres.LSN(0x3000)
	for name, c := range map[string]struct {
		up   status.Result
		want postgres.LSN
	}{
		"a primary":                    {server(false, 0x5000, nil), 0x5000},
		"a primary that was a standby": {server(false, 0x5000, &received), 0x5000},
		"a standby that has more than it has replayed": {server(true, 0x5000, &received), 0x9000},
		"a standby that replays what the archive has":  {server(true, 0x5000, &less), 0x5000},
		"a standby that never streamed":                {server(true, 0x5000, nil), 0x5000},
		"one that does not answer":                     {status.Result{Err: errors.New("gone")}, 0},
	} {
		if got := endOfWAL(c.up); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
