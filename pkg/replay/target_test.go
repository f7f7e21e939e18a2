package replay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestTargetsAreReadAndWrittenAsTheServerHasThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, name, value string }{
		{"time 2026-11-26 07:10:00+00", "recovery_target_time", "2026-11-26 07:10:00+00"},
		{"time 2026-11-26T09:10:00.123456+02:00", "recovery_target_time", "2026-11-26 07:10:00.123456+00"},
		{"time 2026-11-26 07:10:00 UTC", "recovery_target_time", "2026-11-26 07:10:00+00"},
		{"time 2026-11-26 07:10Z", "recovery_target_time", "2026-11-26 07:10:00+00"},
		{"time 2026-11-26 07:10:00.100 +00", "recovery_target_time", "2026-11-26 07:10:00.1+00"},
		{"lsn 0/3000090", "recovery_target_lsn", "0/3000090"},
		{"lsn 00000001/0a", "recovery_target_lsn", "1/A"},
		{"name it's before", "recovery_target_name", "it's before"},
	} {
		got, err := ParseTarget(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if name, value := got.Setting(); name != c.name || value != c.value {
			t.Errorf("%s: %s = %s", c.text, name, value)
		}
		again, err := ParseTarget(got.Text())
		if err != nil || again != got {
			t.Errorf("%s, written and read: %v, %v", c.text, again, err)
		}
	}
}

func TestTargetsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                "want time, lsn or name",
		"xid 7":                           "want time, lsn or name",
		"time 2026-11-26 07:10:00":        "has no zone",
		"time yesterday":                  "want one such as",
		"lsn 12":                          "not of the form",
		"name":                            "has a name",
		"name " + strings.Repeat("x", 64): "longer than 63",
		"name a\nb":                       "line break",
	} {
		if _, err := ParseTarget(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestATargetThatReplayIsPastIsToldWithTheNumbers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 7, 10, 0, 0, time.UTC)
	commit := func(d time.Duration) *time.Time { c := at.Add(d); return &c }
	for _, c := range []struct {
		what     string
		target   Target
		replayed postgres.LSN
		last     *time.Time
		stands   postgres.LSN
		past     string
	}{
		{what: "a commit before", target: Target{Kind: Time, Time: at}, last: commit(-time.Microsecond)},
		{what: "a commit at the time", target: Target{Kind: Time, Time: at}, last: commit(0), past: "2026-11-26 07:10:00+00"},
		{what: "a commit at the time, inclusive", target: Target{Kind: Time, Time: at, Inclusive: true}, last: commit(0)},
		{what: "a commit after", target: Target{Kind: Time, Time: at, Inclusive: true}, last: commit(time.Second), past: "2026-11-26 07:10:01+00"},
		{what: "no commit since the start", target: Target{Kind: Time, Time: at}, replayed: 99},
		{what: "at the position", target: Target{Kind: LSN, LSN: 0x90}, replayed: 0x90},
		{what: "past the position", target: Target{Kind: LSN, LSN: 0x90}, replayed: 0x91, past: "0/91"},
		{what: "before the restore point", target: Target{Kind: Name, Name: "x"}, replayed: 0x90, stands: 0x90},
		{what: "past the restore point", target: Target{Kind: Name, Name: "x"}, replayed: 0x91, stands: 0x90, past: "0/91"},
	} {
		err := c.target.Passed(c.replayed, c.last, c.stands)
		var passed *PassedError
		switch {
		case c.past == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.past != "" && (!errors.As(err, &passed) || passed.Replayed != c.past):
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func TestARestorePointIsFoundByItsWholeName(t *testing.T) {
	t.Parallel()
	const dump = `rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/03000028, prev 0/02FFFFB8, desc: RESTORE_POINT before the release 2
rmgr: XLOG        len (rec/tot):    114/   114, tx:          0, lsn: 0/03000090, prev 0/03000028, desc: CHECKPOINT_ONLINE redo 0/3000090
rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/03000148, prev 0/03000090, desc: RESTORE_POINT before the release
`
	if at, ok := findRestorePoint(dump, "before the release"); !ok || at != 0x3000148 {
		t.Errorf("found %t at %s", ok, at)
	}
	if _, ok := findRestorePoint(dump, "before"); ok {
		t.Error("a part of a name was found")
	}
}

func TestOnlyRestorePointsComeFromTheHost(t *testing.T) {
	t.Parallel()
	const line = "rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/03000028, prev 0/02FFFFB8, desc: "
	for _, c := range []struct {
		what, text string
		at         postgres.LSN
		err        error
	}{
		{what: "found", text: line + "RESTORE_POINT x\n", at: 0x3000028},
		{what: "among other records", text: strings.Repeat(line+"FPI_FOR_HINT \n", 2000) + line + "RESTORE_POINT x\n", at: 0x3000028},
		{what: "the end of the WAL", text: line + "RESTORE_POINT y\n", err: ErrNoRestorePoint},
	} {
		s := newSite(t)
		s.segment(t, 1, 0x3000000)
		s.put(t, "dump.1", c.text)
		at, err := RestorePoint(t.Context(), &s.run, s.source(1, 0), "x")
		if at != c.at || !errors.Is(err, c.err) {
			t.Errorf("%s: %s, %v", c.what, at, err)
		}
		if s.run.out.Len() > 300 {
			t.Errorf("%s: %d bytes came from the host", c.what, s.run.out.Len())
		}
	}
}

func TestARestorePointIsNotLookedForWithoutAProgramOrWAL(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.source(1, 0)
	w.Program += "-of-another-version"
	if _, err := RestorePoint(t.Context(), &s.run, w, "x"); !errors.Is(err, ErrNoProgram) {
		t.Error(err)
	}
	if _, err := RestorePoint(t.Context(), &s.run, s.source(1, 0x3000028), "x"); !errors.Is(err, ErrNoRestorePoint) {
		t.Errorf("all that was received is replayed: %v", err)
	}
}
