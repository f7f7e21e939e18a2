package verify

import (
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// SQLSTATEs, as in the appendix "PostgreSQL Error Codes".
const (
	conflict     = "40001" // a query that recovery cancelled
	lockNotGot   = "55P03"
	deadlock     = "40P01"
	cancelled    = "57014"
	noTable      = "42P01"
	limitReached = "54000" // a row whose text is longer than a gigabyte
	noRight      = "42501"
	// damaged is what a page gives that is not what was written, and damagedIndex such an index.
	damaged      = "XX001"
	damagedIndex = "XX002"
	noFile       = "58P01" // of a relation
)

// anew is how a standby gets data that are its upstream's. It may stream all the same, and
// only --force says that it needs them.
func anew(name string) string { return "pgrepctl standby reseed " + name + " --force" }

func code(err error) string {
	var e *host.SQLError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// judge says of an error whether the table could not be compared, or is not what
// it should be: a standby that cannot read what the primary reads has failed.
func (r *run) judge(err error) (res Result, detail, hint string) {
	var at *side
	on := r.Primary.Name
	if errors.As(err, &at) && at.standby {
		on = r.Standby.Name
	}
	primary := on == r.Primary.Name
	switch c := code(err); {
	case errors.Is(err, errMaxLock):
		return NotPossible, fmt.Sprintf("not compared: it would have been locked for longer than %s", r.MaxLock), "--max-lock gives it longer"
	case c == lockNotGot:
		return NotPossible, fmt.Sprintf("not compared: its lock was not got within %s", r.Lock), "verify it again when no long transaction writes to it"
	case c == cancelled || c == deadlock:
		return NotPossible, "not compared: cancelled on " + on, "verify it again"
	case c == conflict:
		return NotPossible, "not compared: recovery on " + on + " cancelled the query three times", "verify it again with hot_standby_feedback on there, or a greater max_standby_streaming_delay"
	case c == limitReached:
		return NotPossible, "not compared: " + err.Error(), ""
	case c == noRight && primary:
		return NotPossible, "not compared: " + err.Error(), ""
	case c == noTable && primary:
		return NotPossible, "not compared: it was dropped meanwhile", ""
	case !primary && (c == damaged || c == damagedIndex || c == noFile):
		hint = anew(on)
	}
	return Failed, on + ": " + err.Error(), hint
}
