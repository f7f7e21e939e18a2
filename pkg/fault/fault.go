// Package fault is the error that a user meets: what failed, where, what state
// the cluster is in now, and the next command to type.
//
// Layers below wrap with fmt.Errorf as usual; the layer that knows the remedy
// wraps once more with an *Error. Decisions are made on Class and on typed
// errors found by errors.As, never on message text.
package fault

import (
	"errors"
	"strings"
)

// Class decides the exit code. The numbers are the exit codes themselves; the
// table in docs/exit-codes.md is the contract.
type Class int

const (
	Failed      Class = 1   // a step failed; the run can be resumed
	Pending     Class = 2   // changes pending (plan --exit-code)
	Problems    Class = 3   // checks found problems
	Auth        Class = 4   // authentication or authorization: ssh, host key, sudo, role
	Unreachable Class = 5   // host or service not reachable in time
	Refused     Class = 6   // refused by a safety check, or not confirmed
	Locked      Class = 7   // another run holds the cluster lock
	Partial     Class = 8   // some hosts done, some failed
	Undone      Class = 9   // failed, and undone
	Usage       Class = 64  // wrong command line
	Invalid     Class = 65  // bad inventory, settings, plan or script file
	Interrupted Class = 130 // Ctrl-C
)

// Error is what the user reads. Err says what went wrong; the other fields say
// where, and what now. Empty fields are not printed.
type Error struct {
	Class  Class
	Host   string // inventory name of the host
	Op     string // what was being done: "read pg_hba.conf"
	Err    error
	Stderr string // last lines of the remote command's stderr
	State  string // the state the cluster is in now
	Hint   string // the next command to type, or the one thing to change
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host + ": ")
	}
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	return strings.TrimSuffix(b.String(), ": ")
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf returns the class of the outermost *Error in err's tree, Failed for
// any other error and 0 for nil.
func ClassOf(err error) Class {
	if err == nil {
		return 0
	}
	var e *Error
	if errors.As(err, &e) && e.Class != 0 {
		return e.Class
	}
	return Failed
}

// Refuse is the common case of a safety check: nothing was changed.
func Refuse(host, hint string, err error) error {
	return &Error{Class: Refused, Host: host, Err: err, Hint: hint}
}
