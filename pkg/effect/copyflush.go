package effect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

const (
	// flushScript writes out the file system of $1 for each line that it reads, and answers
	// it. sync -f came with coreutils 8.24: without it the kernel begins when it wants to. A
	// sync is not ended half-way, but waited for, and so is not leashed: what the kernel has
	// told it (see copysynced.go) the sync at the end of the run is not told any more.
	flushScript = Lowly + `data=$2
sync --help 2>/dev/null | grep -q -e --file-system || exit 0
while read -r next; do
	sync -f "$1"
	code=$?
	[ "$code" = 0 ] || {
		` + MarkUnsynced + `
		exit "$code"
	}
	echo
done`
	// flushedFrom is how large a copy is of which that saves more than it costs.
	flushedFrom = 256 << 20
	// flushPause is between one flush and the next.
	flushPause = time.Second
)

// flush has the target write to its disks while bytes come, and not when all have come:
// gigabytes of dirty pages make both the copy and the fsync at its end wait (4.4 GB: 9.3
// instead of 11.6 s). That it cannot be done is no reason to stop; that it fails is one.
// written ends it, and says whether it did fail: it waits for the flush that is under way,
// unless the copy was given up.
func (e *Copy) flush(ctx context.Context, h host.Runner, giveUp context.CancelCauseFunc) (written func() error) {
	if e.Total < flushedFrom {
		return func() error { return nil }
	}
	again, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		err := e.flushes(again, h)
		if err != nil {
			giveUp(err)
		}
		ended <- err
	}()
	return func() error {
		stop()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		select {
		case err := <-ended:
			return err
		case <-time.After(unwatchTime): // it leaves its mark without us
			return nil
		}
	}
}

// flushes writes out again and again until ctx ends, and returns why that failed.
func (e *Copy) flushes(ctx context.Context, h host.Runner) error {
	in, lines := io.Pipe()
	answers, out := io.Pipe()
	go func() {
		defer lines.Close() // the script ends when it has done what it was asked
		for answered := bufio.NewScanner(answers); ; {
			select {
			case <-time.After(flushPause):
			case <-ctx.Done():
				return
			}
			if _, err := io.WriteString(lines, "\n"); err != nil || !answered.Scan() {
				return
			}
		}
	}()
	err := h.Run(context.WithoutCancel(ctx), host.Cmd{Argv: []string{"sh", "-c", flushScript, "pgrepctl-flush", e.Into, e.Data}, As: e.As}, host.Stdio{In: in, Out: out})
	_ = in.Close()
	_ = out.Close()
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return nil // a connection that is lost ends the copy, too
	}
	return fmt.Errorf("not all of it could be written to disk: %w", err)
}

// unwritten is the end of a copy of which not all could be written out.
func (e *Copy) unwritten(ctx context.Context, env Env, err error) error {
	return unsynced(ctx, env, e.Host, e.Boot, &fault.Error{Op: "copy " + e.What + " from " + e.From, Err: err})
}
