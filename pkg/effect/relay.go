package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// Relay is how a copy comes through the operator's machine, where the two hosts cannot
// meet. rsync on the standby talks to two named pipes instead of to ssh; this machine
// reads and writes these over one connection, and over the other the sender that it
// starts on the source. What is on the way is a few buffers, whatever the copy's size.
// No key is made, and no host logs in to the other.
type Relay struct {
	Dir string `json:"dir"` // of the pipes, on the standby, the owner's alone
	// Sender is the command on the source, Zstd the one that compresses, if it may.
	Sender []string `json:"sender"`
	Zstd   []string `json:"zstd,omitempty"`

	tries atomic.Int64
}

// pipes are named anew for every try: what is left of an earlier one must not open them.
func (r *Relay) pipes() (in, out string) {
	n := r.tries.Add(1)
	return path.Join(r.Dir, fmt.Sprintf("in%d", n)), path.Join(r.Dir, fmt.Sprintf("out%d", n))
}

// transport is rsync's -e. It opens one pipe in the background, for each opens only when
// its other end does, and it ends when the sender has ended, as ssh would: rsync waits
// for that, and closes nothing. What rsync gives it is made to block, for cat takes a
// pipe that is full for an error.
func (r *Relay) transport(in, out string) ([]string, error) {
	line, err := shell.Quote("sh", "-c", "exec 3<&0; cat <&3 3<&- >"+out+" & exec cat <"+in+" 3<&-")
	return []string{"--blocking-io", "-e", line}, err
}

// senderEnded is how long rsync may take to end after its sender: it still writes what it
// has, and a disk may be slow.
const senderEnded = 2 * time.Minute

const (
	makePipes = `mkfifo -m 600 "$1" "$2"`
	// joinPipes fills the one and empties the other, in one session: sshd grants few. It
	// opens what it fills for reading too, so that it never waits for an rsync that
	// has ended already. So nothing tells the one that fills it when rsync ends and it is
	// full: both end with stdin, and with rsync, whose end the other one sees.
	joinPipes = `exec 3<&0 </dev/null
trap 'kill "$f" "$b" 2>/dev/null; exit' TERM HUP INT
cat <&3 3<&- 1<>"$1" & f=$!
cat <"$2" 3<&- & b=$!
exec 3<&-
while kill -s 0 "$f" 2>/dev/null && kill -s 0 "$b" 2>/dev/null; do sleep 1 >/dev/null & wait "$!"; done
kill "$f" "$b" 2>/dev/null
wait`
)

// relayed runs one stream, and what carries its bytes. All of it ends with rsync.
func (e *Copy) relayed(ctx context.Context, h host.Runner, env Env, zstd bool, argv []string, progress io.Writer) error {
	src, err := env.Host(ctx, e.From)
	if err != nil {
		return err
	}
	in, out := e.Relay.pipes()
	transport, err := e.Relay.transport(in, out)
	if err != nil {
		return fmt.Errorf("pipes of the copy: %w", err)
	}
	argv = slices.Insert(argv, len(argv)-2, transport...)
	if err := h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", makePipes, "sh", in, out}, As: e.As}, host.Stdio{}); err != nil {
		return fmt.Errorf("make the pipes of the copy: %w", err)
	}
	sender := e.Relay.Sender
	if zstd {
		sender = e.Relay.Zstd
	}
	run, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	carry, stop := context.WithCancel(ctx)
	defer stop()
	down, intoStandby := io.Pipe()
	up, intoSource := io.Pipe()
	var carrying sync.WaitGroup
	var sent error
	carrying.Go(func() {
		err := h.Run(carry, host.Cmd{Argv: []string{"sh", "-c", joinPipes, "sh", in, out}, As: e.As}, host.Stdio{In: down, Out: intoSource})
		_ = intoSource.CloseWithError(eof(err))
		_ = down.CloseWithError(eof(err))
	})
	carrying.Go(func() {
		sent = src.Run(carry, host.Cmd{Argv: sender, As: e.FromAs}, host.Stdio{In: up, Out: intoStandby})
		// The end of the stream in any case: rsync says what it lacks.
		_ = intoStandby.Close()
		_ = up.CloseWithError(io.ErrClosedPipe)
		// rsync has all, or sees the end; one that waits for a pipe sees nothing.
		select {
		case <-carry.Done():
		case <-time.After(senderEnded):
			giveUp(fmt.Errorf("the sender on %s has ended: %w", e.From, cmp.Or(sent, io.ErrUnexpectedEOF)))
		}
	})
	err = h.Run(run, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{Out: progress})
	stop()
	_ = down.CloseWithError(io.ErrClosedPipe)
	_ = intoStandby.CloseWithError(io.ErrClosedPipe)
	_ = up.CloseWithError(io.ErrClosedPipe)
	_ = intoSource.CloseWithError(io.ErrClosedPipe)
	carrying.Wait()
	return senderSays(err, sent)
}

func eof(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// senderSays adds the words of the other end to the error of this one, which only knows
// that the stream ended.
func senderSays(err, sent error) error {
	var mine, theirs *host.ExitError
	if errors.As(err, &mine) && errors.As(sent, &theirs) && theirs.Stderr != "" {
		both := *mine
		both.Stderr = theirs.Stderr + mine.Stderr
		return &both
	}
	return err
}
