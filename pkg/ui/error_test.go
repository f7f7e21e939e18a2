package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

func printed(t *testing.T, err error, color bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := PrintError(&b, err, ErrorOptions{Color: color}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestErrorsArePrintedWithAllThatIsKnown(t *testing.T) {
	t.Parallel()
	exit := &host.ExitError{Host: "pg3", Cmd: host.Cmd{Argv: []string{"rsync"}}, Code: 12,
		Stderr: "one\ntwo\nthree\nrsync: connection unexpectedly closed\nrsync error: \x1b[31mbad\x1b[0m (code 12)\n\nlast\n"}
	copied := &fault.Error{Host: "pg3", Op: "copy the data directory", Err: exit}
	inv := inventory.Errors{
		{File: "shop.yaml", Line: 4, Col: 11, Path: "hosts.pg2.prot", Message: "unknown key", Hint: "did you mean port?"},
		{File: "shop.yaml", Line: 9, Col: 3, Message: "no primary"},
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"nothing", nil, ""},
		{"an unknown error", fmt.Errorf("read state: %w", fs.ErrPermission), "error: read state: permission denied\n"},
		{"an error of the field's own", fault.Refuse("pg2", "pgrepctl doctor pg2", errors.New("the data directory is not empty")), `error: pg2: the data directory is not empty
  hint:  pgrepctl doctor pg2
`},
		{"a failed command in a failed run", &fault.Error{
			Err:   fmt.Errorf("run 7f3a: %w", copied),
			State: "no backup is left in progress on pg1\npg3 is marked incomplete", Hint: "pgrepctl runs resume 7f3a",
		}, `error: run 7f3a: pg3: copy the data directory: rsync: exit status 12: last
  stderr: two
  stderr: three
  stderr: rsync: connection unexpectedly closed
  stderr: rsync error: �[31mbad�[0m (code 12)
  stderr: last
  state: no backup is left in progress on pg1
         pg3 is marked incomplete
  hint:  pgrepctl runs resume 7f3a
`},
		{"stderr that the sentence has already", &host.ExitError{Cmd: host.Cmd{Argv: []string{"pg_ctl"}}, Code: 1, Stderr: "no such file\n"},
			"error: pg_ctl: exit status 1: no such file\n"},
		{"stderr that was given", &fault.Error{Op: "start", Err: errors.New("failed"), Stderr: "FATAL: out of memory\n"}, `error: start: failed
  stderr: FATAL: out of memory
`},
		{"hints of several layers, the outer one first", &fault.Error{Hint: "b", Err: &fault.Error{Op: "x", Hint: "b", Err: &fault.Error{Err: errors.New("y"), Hint: "a"}}}, `error: x: y
  hint:  b
  hint:  a
`},
		{"states of several layers", &fault.Error{State: "2", Err: &fault.Error{Op: "x", State: "1"}}, "error: x\n  state: 2\n  state: 1\n"},
		{"no cause", &fault.Error{Op: "wait for pg3", Hint: "pgrepctl status"}, `error: wait for pg3
  hint:  pgrepctl status
`},
		{"several at once", &fault.Error{Class: fault.Partial, Op: "bootstrap", Hint: "pgrepctl runs resume 1", Err: errors.Join(
			&fault.Error{Host: "pg2", Err: errors.New("disk full"), State: "the copy is incomplete"},
			fmt.Errorf("pg3: %w", context.DeadlineExceeded))}, `error: bootstrap: pg2: disk full
  state: the copy is incomplete
error: bootstrap: pg3: context deadline exceeded
  hint:  pgrepctl runs resume 1
`},
		{"one sentence of two errors", fmt.Errorf("%w, and then %w", &fault.Error{Err: errors.New("stop failed"), Hint: "stop it"}, errors.New("the link broke")), `error: stop failed, and then the link broke
  hint:  stop it
`},
		{"a wrapper with words of its own", ownWords{&fault.Error{Err: errors.New("dial tcp"), Hint: "check the address"}}, `error: cannot reach pg2
  hint:  check the address
`},
		{"an inventory", &fault.Error{Class: fault.Invalid, Op: "read inventory", Hint: "pgrepctl inventory validate", Err: inv}, `shop.yaml:4:11: hosts.pg2.prot: unknown key (did you mean port?)
shop.yaml:9:3: no primary
error: read inventory: 2 mistakes in shop.yaml
  hint:  pgrepctl inventory validate
`},
		{"lines that are no join", errors.New("first\n  second\r\n\nthird\n"), "error: first\n    second\n\n  third\n"},
	} {
		if d := cmp.Diff(c.want, printed(t, c.err, false)); d != "" {
			t.Errorf("%s:\n%s", c.name, d)
		}
		if d := cmp.Diff(c.want, strings.ReplaceAll(uncolored(strings.ReplaceAll(printed(t, c.err, true), "�[", "@")), "@", "�[")); d != "" {
			t.Errorf("%s, in colour:\n%s", c.name, d)
		}
	}
}

type ownWords struct{ cause error }

func (ownWords) Error() string   { return "cannot reach pg2" }
func (e ownWords) Unwrap() error { return e.cause }

func TestErrorsInColour(t *testing.T) {
	t.Parallel()
	err := &fault.Error{Op: "x", Stderr: "a\nb", State: "s", Hint: "h"}
	golden(t, "error-color.golden", printed(t, err, true))
}

// A custom multi-error may hold what errors.Join would have dropped.
type holes []error

func (h holes) Error() string   { return "two problems" }
func (h holes) Unwrap() []error { return h }

func TestNilInAMultiErrorIsPassedOver(t *testing.T) {
	t.Parallel()
	if got := printed(t, holes{nil, errors.New("x")}, false); got != "error: two problems\n" {
		t.Errorf("%q", got)
	}
}
