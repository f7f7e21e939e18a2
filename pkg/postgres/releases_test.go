package postgres

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// has tells the severity of one issue, empty if it is not listed.
func has(issues []Issue, id string) Severity {
	for _, i := range issues {
		if i.ID == "release."+id {
			return i.Severity
		}
	}
	return ""
}

func TestKnownBadReleases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id                    string
		severity              Severity
		bad, good, otherMajor Version // the last bad and the first good one
	}{
		{"replay-zeroes-buffers", Block, 90102, 90103, 90400},
		{"replay-not-persisted", Block, 90200, 90201, 90400},
		{"standby-opens-early", Block, 90201, 90202, 90400},
		{"clog-at-standby-start", Block, 90301, 90302, 90400},
		{"replay-wrong-page", Block, 90302, 90303, 90400},
		{"locked-tuple-replay", Block, 90303, 90304, 90400},
		{"multixact-truncation", Warn, 90403, 90404, 90500},
		{"multixact-wraparound", Block, 90401, 90402, 90500},
		{"fsync-foreign-files", Warn, 90402, 90403, 90401},
		{"copied-trigger-file", Warn, 90404, 90405, 90500},
		{"abbreviated-keys", Block, 90501, 90502, 90401},
		{"map-truncation-not-logged", Warn, 90600, 90601, 100000},
		{"cic-race", Warn, 90505, 90506, 100000},
		{"freeze-multixact", Warn, 90603, 90604, 100000},
		{"vacuum-key-share", Warn, 100001, 100002, 110000},
		{"fsync-retried", Warn, 110001, 110002, 120000},
		{"overwrite-contrecord", Warn, 130004, 130005, 150000},
		{"prune-hot-chains", Warn, 140001, 140002, 150000},
		{"cic-misses-rows", Block, 140003, 140004, 130003},
		{"create-database-replay", Warn, 140004, 140005, 150000},
		{"create-database-wal-log", Block, 150002, 150003, 140002},
		{"vacuum-defer-cleanup-age", Block, 150002, 150003, 130002},
		{"oom-ends-wal", Warn, 150004, 150005, 170000},
		{"standby-kills-index-entries", Warn, 150005, 150006, 170000},
		{"prepared-subtransactions", Block, 150007, 150008, 170000},
		{"rewind-deletes-wal", Warn, 150009, 150010, 180000},
		{"cross-page-record-loop", Warn, 150010, 150011, 180000},
		{"sync-wait-after-start", Warn, 150012, 150013, 180000},
		{"slot-advance-removes-wal", Warn, 150013, 150014, 180000},
		{"new-slot-invalidated", Warn, 150015, 150016, 130023},
		{"free-space-map-checksums", Warn, 150017, 150018, 130023},
		{"cascade-reconnect", Warn, 150018, 150019, 130023},
		{"torn-control-file", Warn, 150019, 150020, 130023},
		{"summarize-wal-promotion", Warn, 170010, 160013, 180000},
	} {
		issues := KnownBad(c.bad, nil)
		if got := has(issues, c.id); got != c.severity {
			t.Errorf("%s on %s: %q, want %q", c.id, c.bad, got, c.severity)
		}
		for _, v := range []Version{c.good, c.otherMajor} {
			if got := has(KnownBad(v, nil), c.id); got != "" {
				t.Errorf("%s on %s: %q, want nothing", c.id, v, got)
			}
		}
		i := slices.IndexFunc(issues, func(i Issue) bool { return i.ID == "release."+c.id })
		if i >= 0 && c.id != "summarize-wal-promotion" && issues[i].FixedIn != c.good {
			t.Errorf("%s: fixed in %s, want %s", c.id, issues[i].FixedIn, c.good)
		}
	}
}

func TestEveryRowIsWholeAndHasATest(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, f := range faults() {
		if f.id == "" || f.problem == "" || f.source == "" || len(f.branches) == 0 || seen[f.id] {
			t.Errorf("row %q is not whole, or comes twice", f.id)
		}
		seen[f.id] = true
		if f.severity != Block && f.severity != Warn {
			t.Errorf("%s: severity %q", f.id, f.severity)
		}
		for _, b := range f.branches {
			if b.first >= b.fixed || !b.first.SameMajor(b.fixed) {
				t.Errorf("%s: from %s to %s", f.id, b.first, b.fixed)
			}
			if f.skew {
				if has(KnownBadPair(b.first, b.first-1), f.id) == "" && b.first.Minor() > 0 {
					t.Errorf("%s is not reported for %s", f.id, b.first)
				}
			} else if has(KnownBad(b.first, nil), f.id) == "" {
				t.Errorf("%s is not reported for %s", f.id, b.first)
			}
		}
	}
	if len(seen) < 35 {
		t.Errorf("only %d rows", len(seen))
	}
}

func TestSkewIsJudgedByBothServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id               string
		standby, primary Version
		want             Severity
	}{
		{"multixact-truncation-skew", 170008, 170005, Block},
		{"multixact-truncation-skew", 150016, 150015, Block},
		{"multixact-truncation-skew", 140021, 140020, Block},
		{"multixact-truncation-skew", 160012, 160011, Block},
		{"multixact-truncation-skew", 180002, 180001, Block},
		{"multixact-truncation-skew", 170008, 170008, ""},
		{"multixact-truncation-skew", 170009, 170005, ""},
		{"multixact-truncation-skew", 170007, 170005, ""},
		{"multixact-truncation-skew", 170008, 170009, ""},
		{"replay-self-deadlock-skew", 150018, 150017, Block},
		{"replay-self-deadlock-skew", 150019, 150017, ""},
		{"replay-self-deadlock-skew", 150017, 150016, ""},
		{"replay-self-deadlock-skew", 170010, 170009, Warn}, // same date, its notes not read
		{"multixact-creation-skew", 150017, 150016, Warn},
		{"multixact-creation-skew", 150018, 150016, ""},
		{"gin-replay-skew", 110002, 110001, Block},
		{"gin-replay-skew", 110003, 110001, ""},
		{"standby-older", 150019, 150020, Warn},
		{"standby-older", 150020, 150020, ""},
		{"standby-older", 150020, 150019, ""},
		{"major-differs", 160001, 150001, Block},
		{"major-differs", 90601, 90501, Block},
	} {
		if got := has(KnownBadPair(c.standby, c.primary), c.id); got != c.want {
			t.Errorf("%s, standby %s, primary %s: %q, want %q", c.id, c.standby, c.primary, got, c.want)
		}
	}
	if got := has(KnownBad(170008, nil), "multixact-truncation-skew"); got != "" {
		t.Error("a skew is reported of one server")
	}
}

func TestBranchesWhoseNotesWereNotReadAreNeverBlocked(t *testing.T) {
	t.Parallel()
	issues := KnownBad(160003, nil)
	i := slices.IndexFunc(issues, func(i Issue) bool { return i.ID == "release.prepared-subtransactions" })
	if i < 0 || issues[i].Severity != Warn || !strings.Contains(issues[i].Source, "16.4 is of the same date") {
		t.Errorf("%+v", issues)
	}
}

func TestSettingsNarrowWhatIsReported(t *testing.T) {
	t.Parallel()
	with := func(name, value, kind string) Settings {
		return Settings{name: {Name: name, Value: value, Vartype: kind}}
	}
	for _, c := range []struct {
		id   string
		v    Version
		s    Settings
		want Severity
	}{
		{"prepared-subtransactions", 150007, nil, Block},
		{"prepared-subtransactions", 150007, with("max_prepared_transactions", "0", "integer"), ""},
		{"prepared-subtransactions", 150007, with("max_prepared_transactions", "5", "integer"), Block},
		{"prepared-subtransactions", 150007, Settings{}, Block},
		{"sync-wait-after-start", 150012, with("synchronous_standby_names", "", "string"), ""},
		{"sync-wait-after-start", 150012, with("synchronous_standby_names", "*", "string"), Warn},
		{"summarize-wal-promotion", 170004, with("summarize_wal", "off", "bool"), ""},
		{"free-space-map-checksums", 150017, with("data_checksums", "on", "bool"), Warn},
		{"free-space-map-checksums", 150017, with("data_checksums", "off", "bool"), ""},
		{"vacuum-defer-cleanup-age", 150002, with("vacuum_defer_cleanup_age", "0", "integer"), ""},
	} {
		if got := has(KnownBad(c.v, c.s), c.id); got != c.want {
			t.Errorf("%s with %v: %q, want %q", c.id, c.s, got, c.want)
		}
	}
}

func TestNewReleasesPassAndGraveIssuesComeFirst(t *testing.T) {
	t.Parallel()
	for _, v := range []Version{150020, 150021, 160017, 180006, 190000, 190003} {
		if got := KnownBad(v, nil); len(got) != 0 {
			t.Errorf("%s: %+v", v, got)
		}
	}
	issues := KnownBad(150000, nil)
	if !slices.IsSortedFunc(issues, func(a, b Issue) int { return strings.Compare(string(a.Severity), string(b.Severity)) }) {
		t.Errorf("%+v", issues)
	}
	if i := KnownBad(170004, nil); i[len(i)-1].FixedIn != 0 {
		t.Errorf("a fix that is in no release known: %+v", i)
	}
}

func TestEndOfLife(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC)
	eachMajor(t, func(t *testing.T, v Version) {
		day, ok := v.EndOfLife()
		if !ok || day.Before(now) == v.AtLeast(15) {
			t.Errorf("%s, %t", day, ok)
		}
	})
	if _, ok := Version(190000).EndOfLife(); ok {
		t.Error("19 has a day")
	}
	if day, ok := Version(90303).EndOfLife(); !ok || day.After(now) {
		t.Error("9.3 is supported")
	}
}
