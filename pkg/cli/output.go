package cli

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// output is the standard output, which may be a pipe that nobody reads any more, as after
// "| head". A command that only looks ends then as any other does, without a word. One that
// acts goes on, and says at its end that its result could not be written.
type output struct {
	file   *os.File // not embedded: its WriteString would go past Write
	acting *atomic.Bool
}

// terminal is the file behind an output, for a command that is to have it as its own: of
// anything else it gets a pipe, and no terminal.
func terminal(w io.Writer) io.Writer {
	if o, ok := w.(*output); ok {
		return o.file
	}
	return w
}

// Fd is for who asks whether it is a terminal.
func (o *output) Fd() uintptr { return o.file.Fd() }

func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if !errors.Is(err, syscall.EPIPE) {
		return n, err
	}
	if !o.acting.Load() {
		signal.Reset(syscall.SIGPIPE)
		_, _ = o.file.Write(b[n:]) // ends the process, if it is its standard output
	}
	return n, &fault.Error{Class: fault.Failed, Op: "write the result", Err: err}
}
