package verify

import (
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// anew is how a standby gets data that are its upstream's. It may stream all the same, and
// only --force says that it needs them.
func anew(name string) string { return "pgrepctl standby reseed " + name + " --force" }

// judge says of an error whether the table could not be compared, or is not what
// it should be: a standby that cannot read what the primary reads has failed.
func (r *run) judge(err error) (res Result, detail, hint string) {
	var at *side
	on := r.Primary.Name
	if errors.As(err, &at) && at.standby {
		on = r.Standby.Name
	}
	primary := on == r.Primary.Name
	switch c := host.SQLState(err); {
	case errors.Is(err, errMaxLock):
		return NotPossible, fmt.Sprintf("not compared: it would have been locked for longer than %s", r.MaxLock), "--max-lock gives it longer"
	case c == postgres.LockNotAvailable:
		return NotPossible, fmt.Sprintf("not compared: its lock was not got within %s", r.Lock), "verify it again when no long transaction writes to it"
	case c == postgres.QueryCanceled || c == postgres.DeadlockDetected:
		return NotPossible, "not compared: cancelled on " + on, "verify it again"
	case c == postgres.SerializationFailure:
		return NotPossible, "not compared: recovery on " + on + " cancelled the query three times", "verify it again with hot_standby_feedback on there, or a greater max_standby_streaming_delay"
	case c == postgres.ProgramLimitExceeded: // a row whose text is longer than a gigabyte
		return NotPossible, "not compared: " + err.Error(), ""
	case c == postgres.InsufficientPrivilege && primary:
		return NotPossible, "not compared: " + err.Error(), ""
	case c == postgres.UndefinedTable && primary:
		return NotPossible, "not compared: it was dropped meanwhile", ""
	case !primary && (c == postgres.DataCorrupted || c == postgres.IndexCorrupted || c == postgres.UndefinedFile):
		hint = anew(on)
	}
	return Failed, on + ": " + err.Error(), hint
}
