package effect_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

const (
	logText = "2026-11-22 04:00:00.000 UTC [7] LOG:  starting\n" +
		"FATAL:  could not connect to the primary server: refused\r\n" +
		"\tFATAL\n" +
		"2026-11-22 04:00:05 UTC [9] postgres@postgres PANIC:  out of luck\n" +
		"2026-11-22 04:00:05 UTC [9] LOG:  FATALITIES: none\n"
	readLog = "run sh -c tail -c \"+$1\" -- \"$2\" | tail -c \"$3\" sh 8 /log 262144"
)

func TestAStartNotesWhereTheLogWas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		action, log string
		want        effect.Output
	}{
		{"start", "before\n", effect.Output{"log.offset.pg1": "7"}},
		{"start", "", effect.Output{"log.offset.pg1": "0"}},
		{"restart", "before\n", effect.Output{"log.offset.pg1": "7"}},
		{"await", "before\n", nil}, // nobody knows where it was when it was started
	} {
		s, in := script(t)
		if c.log != "" {
			s.Put("/log", "postgres", 0o640, c.log)
		}
		if c.action != "await" {
			s.Expect(call{Do: "run ctl " + c.action, Then: func() { s.Put("/log", "postgres", 0o640, c.log+logText) }})
		}
		s.Expect(call{Do: "connect"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "close"})
		if diff := cmp.Diff(c.want, do(t, service(c.action, effect.ExpectStandby), in)); diff != "" {
			t.Errorf("%s, %q: %s", c.action, c.log, diff)
		}
	}
}

func TestSevereLinesAreAWarningOnceItStreams(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		logText:         {"it streams, but its server log has 2 FATAL or PANIC lines since the start, the last of them: 2026-11-22 04:00:05 UTC [9] postgres@postgres PANIC:  out of luck"},
		"LOG:  ready\n": nil,
	} {
		_, in := script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"streaming"}]`}, call{Do: mark, Out: `[{"lsn":"0/300"}]`},
			call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`}, call{Do: readLog, Out: text})
		e := await(false)
		e.LogFrom = "7"
		do(t, e, in)
		if diff := cmp.Diff(want, in.warnings); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSevereLinesArePartOfTheErrorOfAWait(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders}, call{Do: "query select pg_last_wal_replay_lsn() as replay…"}, call{Do: inRecovery, Out: `[{"in_recovery":true}]`}, call{Do: "query select greatest(…"}, call{Do: readLog, Out: logText})
	e := await(false)
	e.LogFrom, e.Timeout = "7", -1
	_, err := e.Do(t.Context(), in)
	var f *fault.Error
	want := "FATAL:  could not connect to the primary server: refused\n2026-11-22 04:00:05 UTC [9] postgres@postgres PANIC:  out of luck"
	if errors.As(err, &f); f.Stderr != want {
		t.Errorf("got %q", f.Stderr)
	}
	if len(in.warnings) != 0 {
		t.Errorf("warnings: %q", in.warnings)
	}
}

func TestALogThatCannotBeReadIsNoFailure(t *testing.T) {
	t.Parallel()
	_, in := script(t, call{Do: "connect"}, call{Do: senders, Out: `[{"state":"streaming"}]`}, call{Do: mark, Out: `[{"lsn":"0/300"}]`},
		call{Do: replay, Out: `[{"receive":"0/300","replay":"0/300"}]`}, call{Do: readLog, Err: exit(1, "permission denied")})
	e := await(false)
	e.LogFrom = "7"
	do(t, e, in)
	if len(in.warnings) != 0 {
		t.Errorf("warnings: %q", in.warnings)
	}
}
