package postgres

import (
	"fmt"
	"slices"
	"time"
)

// Severity of a known problem of a release.
type Severity string

const (
	Block Severity = "block" // refuse, unless the operator accepts the issue by its ID
	Warn  Severity = "warn"
)

// Issue is a known problem of a server release that touches replication, base
// backups or the trust in a copy.
type Issue struct {
	ID       string   `json:"id"` // stable, "release.cic-misses-rows"
	Severity Severity `json:"severity"`
	// Problem says what goes wrong, Action what to do besides the update.
	Problem string `json:"problem"`
	Action  string `json:"action,omitempty"`
	// FixedIn is the first good release of the same branch; 0 where the remedy
	// is not an update.
	FixedIn Version `json:"fixed_in,omitempty"`
	// Source is where this is written, as text.
	Source string `json:"source"`
}

// fault is one row of the table.
type fault struct {
	id       string
	severity Severity
	problem  string
	action   string
	branches []branch
	// when tells whether the server uses what is broken; nil: always. It is
	// asked only if the settings are known.
	when func(Settings) bool
	// skew: the fault shows only on a standby of these releases whose primary
	// runs an older minor release than the first good one.
	skew   bool
	source string
}

// branch is a run of bad minor releases of one major release: from first to the
// one before fixed.
type branch struct {
	first, fixed Version
	// sameDate marks a branch whose own notes were not read: its release of
	// the same date carries the same fixes as a rule. It is never blocked.
	sameDate bool
}

// unfixed is the minor number of a branch whose first good release is not known.
const unfixed = 9999

func (b branch) contains(v Version) bool {
	return v.SameMajor(b.fixed) && v >= b.first && v < b.fixed
}

// bad is a range read from the notes of its own branch: fixed in minor n, bad
// since the first release of the branch.
func bad(fixed Version) branch {
	return branch{first: fixed - Version(fixed.Minor()), fixed: fixed}
}

// since narrows a range to begin at minor n.
func (b branch) since(n int) branch {
	b.first = b.fixed - Version(b.fixed.Minor()) + Version(n)
	return b
}

func sameDate(fixed ...Version) []branch {
	out := make([]branch, 0, len(fixed))
	for _, f := range fixed {
		b := bad(f)
		b.sameDate = true
		out = append(out, b)
	}
	return out
}

// KnownBad lists what is wrong with one server of version v, which must be the
// server's own answer with its minor number, gravest first, then in the order of
// the table. Settings narrow it to what the server uses; nil
// means not known, and nothing is left out. A release newer than the table
// passes.
func KnownBad(v Version, s Settings) []Issue {
	var out []Issue
	for _, f := range faults() {
		if f.skew {
			continue
		}
		if b, ok := f.of(v); ok && (f.when == nil || s == nil || f.when(s)) {
			out = append(out, f.issue(b))
		}
	}
	return gravestFirst(out)
}

// KnownBadPair lists what is wrong with a standby of one version below a primary
// (or upstream) of another, apart from what KnownBad says of each.
func KnownBadPair(standby, primary Version) []Issue {
	if !standby.SameMajor(primary) {
		return []Issue{{
			ID: "release.major-differs", Severity: Block,
			Problem: fmt.Sprintf("a standby of PostgreSQL %s cannot replay the WAL of %s", standby.Major(), primary.Major()),
			Action:  "install the primary's major release on the standby",
			Source:  "manual, log-shipping standby servers",
		}}
	}
	var out []Issue
	for _, f := range faults() {
		if b, ok := f.of(standby); ok && f.skew && primary < standby {
			out = append(out, f.issue(b))
		}
	}
	if standby < primary {
		out = append(out, Issue{
			ID: "release.standby-older", Severity: Warn,
			Problem: fmt.Sprintf("the standby (%s) is older than its primary (%s)", standby, primary),
			Action:  "update standbys before their primary",
			Source:  "manual, log-shipping standby servers",
		})
	}
	return gravestFirst(out)
}

func (f fault) of(v Version) (branch, bool) {
	i := slices.IndexFunc(f.branches, func(b branch) bool { return b.contains(v) })
	if i < 0 {
		return branch{}, false
	}
	return f.branches[i], true
}

func (f fault) issue(b branch) Issue {
	i := Issue{
		ID: "release." + f.id, Severity: f.severity, Problem: f.problem, Action: f.action,
		FixedIn: b.fixed, Source: f.source,
	}
	if b.fixed.Minor() == unfixed {
		i.FixedIn = 0
	}
	if b.sameDate {
		i.Severity = Warn
		i.Source += "; " + b.fixed.String() + " is of the same date"
	}
	return i
}

func gravestFirst(issues []Issue) []Issue {
	slices.SortStableFunc(issues, func(a, b Issue) int {
		rank := func(s Severity) int { return slices.Index([]Severity{Block, Warn}, s) }
		return rank(a.Severity) - rank(b.Severity)
	})
	return issues
}

// EndOfLife is the day of the branch's last release by the project's versioning
// policy; ok is false for a branch newer than the table.
func (v Version) EndOfLife() (day time.Time, ok bool) {
	date := func(y int, m time.Month, d int) (time.Time, bool) {
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC), true
	}
	switch v.Major() {
	case "9.4":
		return date(2020, time.February, 13)
	case "9.5":
		return date(2021, time.February, 11)
	case "9.6":
		return date(2021, time.November, 11)
	case "10":
		return date(2022, time.November, 10)
	case "11":
		return date(2023, time.November, 9)
	case "12":
		return date(2024, time.November, 21)
	case "13":
		return date(2025, time.November, 13)
	case "14":
		return date(2026, time.November, 12)
	case "15":
		return date(2027, time.November, 11)
	case "16":
		return date(2028, time.November, 9)
	case "17":
		return date(2029, time.November, 8)
	case "18":
		return date(2030, time.November, 14)
	}
	if v < Oldest {
		return date(2019, time.November, 14) // 9.3 at the latest
	}
	return time.Time{}, false
}
