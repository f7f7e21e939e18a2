package effect

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// streamBytes is what makes one more stream worth its login, which costs both
// processors as much as the copy of some ten MiB does.
const streamBytes = 32 << 20

// stream is one of the processes that copy a tree at the same time.
type stream struct {
	number int      // from 1
	of     int      // how many there are
	rules  []string // which files are its own: see postgres.Sizes
	share  int64    // the bytes that are expected in them
	over   bool     // files of equal size and time are passed over: see passOver
}

// split looks at the sizes of the tree's files, for as many streams as are worth it.
// That is of no use for what is copied, only for how evenly: what cannot be seen
// is copied all the same.
func (e *Copy) split(ctx context.Context, env Env) ([]stream, error) {
	whole := []stream{{number: 1, of: 1, share: e.Total}}
	if e.Streams < 2 || e.Total > 0 && e.Total < streamBytes {
		return whole, nil
	}
	src, err := env.Host(ctx, e.From)
	if err != nil {
		return nil, err
	}
	sizes, err := e.sizes(ctx, src)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("list the files of %s: %w", e.From, err)
	}
	n := int(min(int64(e.Streams), 1+sizes.Bytes()/streamBytes))
	if n < 2 {
		return whole, nil
	}
	rules, shares := sizes.Split(n)
	out := make([]stream, n)
	for i := range out {
		out[i] = stream{number: i + 1, of: n, rules: rules[i], share: shares[i]}
	}
	return out, nil
}

// sizes are of the files as they are now, which some will not be for long. What is not
// copied, as all the WAL, would have the streams share it.
func (e *Copy) sizes(ctx context.Context, src host.Runner) (*postgres.Sizes, error) {
	var sizes postgres.Sizes
	var patterns []string
	for _, a := range e.Argv {
		if p, ok := strings.CutPrefix(a, "--exclude="); ok {
			patterns = append(patterns, p)
		}
	}
	excluded := postgres.Excluded(patterns)
	pr, pw := io.Pipe()
	var reading sync.WaitGroup
	reading.Go(func() {
		sc := bufio.NewScanner(pr)
		sc.Split(items("\x00"))
		for sc.Scan() {
			size, name, ok := bytes.Cut(sc.Bytes(), []byte(" "))
			if n, err := strconv.ParseInt(string(size), 10, 64); ok && err == nil && !excluded(string(name)) {
				sizes.Add(string(name), n)
			}
		}
		_, _ = io.Copy(io.Discard, pr)
	})
	argv := []string{"find", "-H", e.Tree, "-type", "f", "-printf", `%s %P\0`}
	err := src.Run(ctx, host.Cmd{Argv: argv, As: cmp.Or(e.FromAs, e.WAL.As), Leash: true}, host.Stdio{Out: pw})
	_ = pw.Close()
	reading.Wait()
	return &sizes, err
}

// items splits at any of the characters of ends.
func items(ends string) bufio.SplitFunc {
	return func(data []byte, eof bool) (int, []byte, error) {
		if i := bytes.IndexAny(data, ends); i >= 0 {
			return i + 1, data[:i], nil
		}
		if eof && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	}
}

// argv is the command of a stream: its rules come behind those that leave files
// out, for the first that matches counts.
//
// A stream that goes on with a copy into what was empty passes over files of the same
// size and time. It has brought them itself, under the same backup: whatever the server
// wrote to them since is in the WAL from its start on, as of all others. (Of what an
// earlier backup has left that would be wrong, and it compares every byte.) The one
// file that it was at is copied again as a whole, for rsync is slow to find that
// a half has no end.
//
// One that has come to its end, and only missed files that changed under its hands, has
// compared all others under this backup, and given them the source's time. That is so
// of what was not empty, too.
func (e *Copy) argv(s stream, zstd, again, seen bool) []string {
	var more []string
	if zstd {
		more = append(ZstdFlags(), "--rsync-path="+ZstdSender)
	}
	argv := slices.Clone(e.Argv)
	switch {
	case s.over, seen:
		argv = e.quick()
	case again && e.Empty:
		argv = slices.DeleteFunc(argv, func(a string) bool { return a == "--ignore-times" })
		more = append(more, "--whole-file")
	}
	return slices.Insert(argv, len(argv)-2, append(more, s.rules...)...)
}

// pull runs the streams to their end. One that cannot go on ends the others.
func (e *Copy) pull(ctx context.Context, h host.Runner, env Env, list []stream, g *governor) (how string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	trial := newTrial(list, e.Compress, e.Empty, time.Now)
	meter := newMeter(e.Total, len(list), func() string { return joined(trial.said(), g.said()) }, env.Progress)
	var mu sync.Mutex // what is above us takes one at a time
	warn := func(text string) {
		mu.Lock()
		defer mu.Unlock()
		env.Warn(e.Host, text)
	}
	var running, looking sync.WaitGroup
	looked, enough := context.WithTimeout(ctx, haveTime)
	defer enough()
	if list[0].over { // nobody waits for it: it is only told
		looking.Go(func() { meter.passed(e.have(looked, h)) })
	}
	errs := make([]error, len(list))
	for i, s := range list {
		running.Go(func() {
			if errs[i] = e.stream(ctx, h, env, s, trial, meter, warn); errs[i] != nil {
				cancel(errStreamEnded)
			}
		})
	}
	running.Wait()
	enough()
	looking.Wait()
	meter.end()
	// The one that ended first, not those that it took along.
	for _, err := range errs {
		if err != nil && !errors.Is(err, errStreamEnded) {
			return "", err
		}
	}
	return trial.result(), errors.Join(errs...)
}

// errStreamEnded is why a stream ends that could have gone on.
var errStreamEnded = errors.New("another stream of the copy failed")

const (
	// rsyncVanished is rsync's exit code for files that were gone when their turn
	// came: usual on a live server, where tables are dropped. Once the copy is run
	// again and sees the same, or nothing, it is complete. 23 never is: it hides real
	// read errors.
	rsyncVanished = 24
	// rsyncPartial is its code for what it could not read or write, and so also for a
	// file that was cut short while it was read (DROP, TRUNCATE, VACUUM): that comes as
	// ENODATA, by its number, for the words are of the host's language.
	rsyncPartial  = 23
	rsyncCutShort = "(61)"
	// cutTries is how often files may be cut short.
	cutTries = 10
	// saidInFull: of more than this the beginning may be lost.
	saidInFull = 4096
	// streamTries is how often a stream is begun again that broke, while the
	// backup that it belongs to goes on. It finds what it has copied by content.
	streamTries = 3
	streamPause = 2 * time.Second // before the first of them; then twice as long
)

// cutShort: a file had less in it than when the sender opened it. What else was wrong is
// said again by the next try, which must not pass over it: only is false unless it is known
// that nothing was.
func cutShort(exit *host.ExitError) (cut, only bool) {
	if exit.Code != rsyncPartial {
		return false, false
	}
	only = len(exit.Stderr) < saidInFull
	for line := range strings.Lines(exit.Stderr) {
		switch {
		case strings.Contains(line, "read errors mapping") && strings.Contains(line, rsyncCutShort):
			cut = true
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "file has vanished: ") && !strings.HasPrefix(line, "rsync error: "):
			only = false
		}
	}
	return cut, only
}

// broken: the connection of a stream failed, or a process of it was ended. That its
// next try fails in the same way is well possible. What rsync says of files and
// disks (3, 11, 23) no try mends.
func broken(err error) bool {
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	switch exit.Code {
	case 5, 10, 12, 20, 30, 35, 255: // of rsync, and of ssh
		return true
	}
	return exit.Signal != "" || exit.Code > 128 && exit.Code < 160
}

func (e *Copy) stream(ctx context.Context, h host.Runner, env Env, s stream, t *trial, m *meter, warn func(string)) error {
	i := s.number - 1
	defer t.end(i)
	vanished, seen := false, false // seen: a run has come to its end
	for try, cuts, runs := 0, 0, 0; ; runs++ {
		run, turn := context.WithCancelCause(ctx)
		zstd := t.begin(i, turn)
		if runs > 0 && (e.Empty || s.over || seen) {
			m.again(i) // it passes over what it has
		}
		pr, pw := io.Pipe()
		var reading sync.WaitGroup
		reading.Go(func() { readProgress(pr, func(n int64) { t.report(i, n); m.set(i, n) }) })
		err := e.rsync(run, h, env, s, zstd, runs > 0, seen, pw)
		_ = pw.Close()
		reading.Wait()
		why := context.Cause(run)
		turn(nil)
		var exit *host.ExitError
		var cut, only bool
		if errors.As(err, &exit) {
			cut, only = cutShort(exit)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(why, errOtherWay) && ctx.Err() == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case exit != nil && exit.Code == rsyncVanished:
			if vanished {
				return nil
			}
			vanished, seen = true, true
			warn(s.say("files vanished while they were copied (dropped tables); checking once more"))
		case cut && cuts < cutTries:
			cuts, seen = cuts+1, only
			warn(s.say("files were cut short while they were copied (dropped or truncated tables); checking once more"))
		case broken(err) && try < streamTries:
			try++
			pause := streamPause << (try - 1)
			warn(s.say(fmt.Sprintf("rsync broke, %s; try %d of %d, which goes on from what is there, in %s", reason(err), try, streamTries, pause)))
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		default:
			return err
		}
	}
}

// rsync runs the process of a stream to its end.
func (e *Copy) rsync(ctx context.Context, h host.Runner, env Env, s stream, zstd, again, seen bool, out io.Writer) error {
	argv := e.argv(s, zstd, again, seen)
	if e.Relay == nil {
		if e.Lowly {
			argv = append([]string{"sh", "-c", Lowly + `exec "$@"`, "sh"}, argv...)
		}
		return h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{Out: out})
	}
	return e.relayed(ctx, h, env, zstd, argv, out)
}

func (s stream) say(text string) string {
	if s.of == 1 {
		return text
	}
	return fmt.Sprintf("stream %d of %d: %s", s.number, s.of, text)
}

// reason is why a stream broke, in one line: the first that was said, for rsync ends
// with what the broken connection meant to it.
func reason(err error) string {
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return err.Error()
	}
	what := fmt.Sprintf("exit status %d", exit.Code)
	if exit.Signal != "" {
		what = "killed by SIG" + exit.Signal
	} else if exit.Code > 128 && exit.Code < 160 { // 255 is ssh's own
		what = fmt.Sprintf("killed by signal %d", exit.Code-128)
	}
	for line := range strings.Lines(exit.Stderr) {
		if line = strings.TrimSpace(line); line != "" {
			return what + ": " + line
		}
	}
	return what
}

func joined(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), "; ")
}
