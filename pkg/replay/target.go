// Package replay knows how far a standby is, whether its replay stands still, and
// where it can still be stopped. It is pure but for the SQL session or the commands
// that it is given to read through; it changes nothing.
package replay

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Kind of a target.
type Kind string

const (
	Time Kind = "time" // the commit time of a transaction
	LSN  Kind = "lsn"  // a position in the write-ahead log (10+)
	Name Kind = "name" // a restore point, made with pg_create_restore_point
)

// Target is where replay shall stop.
type Target struct {
	Kind Kind
	Time time.Time    // of Kind Time, in microseconds as PostgreSQL has them
	LSN  postgres.LSN // of Kind LSN
	Name string       // of Kind Name
	// Inclusive: the transaction or the record at the target is replayed too. It
	// means nothing of a restore point, which changes nothing.
	Inclusive bool
}

// ParseTarget reads "time 2026-11-26 07:10:00+00", "lsn 0/3000090" or "name before
// the release".
func ParseTarget(text string) (Target, error) {
	kind, value, _ := strings.Cut(text, " ")
	value = strings.TrimSpace(value)
	switch Kind(kind) {
	case Time:
		at, err := ParseTime(value)
		return Target{Kind: Time, Time: at}, err
	case LSN:
		at, err := postgres.ParseLSN(value)
		return Target{Kind: LSN, LSN: at}, err
	case Name:
		return Target{Kind: Name, Name: value}, validName(value)
	}
	return Target{}, fmt.Errorf("target %q: want time, lsn or name, and its value", text)
}

// maxName is MAXFNAMELEN - 1: a longer name is refused by the server at the start.
const maxName = 63

func validName(name string) error {
	switch {
	case name == "":
		return errors.New("a restore point has a name")
	case len(name) > maxName:
		return fmt.Errorf("restore point %q: longer than %d bytes", name, maxName)
	case strings.ContainsAny(name, "\n\r\x00"):
		return fmt.Errorf("restore point %q: line break in the name", name)
	}
	return nil
}

// ParseTime reads a time with its zone. Without one it would mean another moment in
// the zone of each server, and of whoever typed it: such a time is refused.
func ParseTime(text string) (time.Time, error) {
	form := strings.Replace(strings.TrimSpace(text), "T", " ", 1)
	if bare, ok := strings.CutSuffix(strings.TrimSpace(text), " UTC"); ok {
		form = strings.Replace(bare, "T", " ", 1) + "Z"
	}
	for _, layout := range []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05Z0700",
		"2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05 Z07", "2006-01-02 15:04Z07:00", "2006-01-02 15:04Z07"} {
		if t, err := time.Parse(layout, form); err == nil {
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	if _, err := time.Parse("2006-01-02 15:04:05", form); err == nil {
		return time.Time{}, fmt.Errorf("time %q has no zone: say which, such as %sZ or %s+02", text, text, text)
	}
	return time.Time{}, fmt.Errorf("time %q: want one such as 2026-11-26 07:10:00+00, with its zone", text)
}

// FormatTime is a time as the tool and the settings write it, in UTC.
func FormatTime(t time.Time) string {
	s := t.UTC().Format("2006-01-02 15:04:05.000000")
	return strings.TrimRight(strings.TrimRight(s, "0"), ".") + "+00"
}

// Setting is the recovery_target_* setting and its value.
func (t Target) Setting() (name, value string) {
	switch t.Kind {
	case Time:
		return "recovery_target_time", FormatTime(t.Time)
	case LSN:
		return "recovery_target_lsn", t.LSN.String()
	default:
		return "recovery_target_name", t.Name
	}
}

// String is the target for a reader, with its side.
func (t Target) String() string {
	side := "before"
	if t.Inclusive {
		side = "after"
	}
	switch t.Kind {
	case Time:
		if t.Inclusive {
			return "before the first commit after " + FormatTime(t.Time)
		}
		return "before the first commit at or after " + FormatTime(t.Time)
	case LSN:
		return side + " the record at " + t.LSN.String()
	default:
		return fmt.Sprintf("at restore point %q", t.Name)
	}
}

// Text is what ParseTarget reads.
func (t Target) Text() string {
	_, value := t.Setting()
	return string(t.Kind) + " " + value
}

// PassedError says that replay is already behind a target, with the numbers.
type PassedError struct {
	Target   Target
	Replayed string // how far replay is: an LSN, or the time of a commit
}

func (e *PassedError) Error() string {
	_, value := e.Target.Setting()
	return fmt.Sprintf("replay is past the target: it has replayed up to %s, and the target is %s", e.Replayed, value)
}

// PassedHint is what there is to do then.
const PassedHint = "what it has replayed cannot be taken back: another standby with a longer delay, or a backup, may still have it"

// Passed compares a target with how far replay is: what is replayed cannot be taken
// back. lastCommit is the commit time of the last transaction replayed, nil when it
// is not known: a server forgets it when it is restarted. at is where a restore point
// stands, 0 when that is not known.
func (t Target) Passed(replayed postgres.LSN, lastCommit *time.Time, at postgres.LSN) error {
	switch t.Kind {
	case Time:
		if lastCommit != nil && (lastCommit.After(t.Time) || !t.Inclusive && lastCommit.Equal(t.Time)) {
			return &PassedError{Target: t, Replayed: FormatTime(*lastCommit)}
		}
	default:
		if stands := cmp.Or(t.LSN, at); stands != 0 && replayed > stands {
			return &PassedError{Target: t, Replayed: replayed.String()}
		}
	}
	return nil
}
