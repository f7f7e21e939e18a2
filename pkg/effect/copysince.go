package effect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// What a copy that goes on need not read again.
//
// A file that this run has finished earlier, and that was not written since, is the same
// at both ends. Nothing else may be passed over, and this is how each half is known.
//
// Finished by this run: the directory was empty when the run began with it and no other
// run has copied into it (Alone), so every file in it is the run's; rsync that writes in
// place gives a file the time of the source's when it has all of it, and not before, so
// one that it was at has the time of its last write here. Times are compared to the
// nanosecond. What a standby that went down has lost of a file that looks finished is not
// known: after a reboot of it nothing is passed over.
//
// Not written since: before the run reads the first byte it notes the source's clock. A
// write after that moves mtime and ctime of the file to a time that is not earlier:
// PostgreSQL writes relations by write() and its like, never through a mapping of the
// file. So a file whose ctime, which nobody can set, is earlier than the note was not
// written since it was copied, nor renamed or replaced. This asks of the clock that it
// does not go back, so it is held against the time since boot, which nothing sets: both
// are noted, and when they have come apart, or the source was booted again, nothing is
// passed over. It also asks that times are those of the host's own clock, which is so on
// the file systems of localFileSystems, and not on NFS.
//
// Writes that come after this look are in the WAL from the start of the backup on that
// holds now, as in any base backup.
const (
	// clockStep is how far the source's clock may move against the time since boot;
	// the kernel's slewing moves both alike.
	clockStep = 1.0
	// readingClock bounds how long the reading of both may take, which adds to it.
	readingClock = 0.5
	// sinceMargin is more than both, and the tick of the kernel's coarse clock.
	sinceMargin = 5.0
)

// clockScript prints the boot, the clock, and the time since boot before and after.
const clockScript = `read -r boot </proc/sys/kernel/random/boot_id
read -r u _ </proc/uptime
w=$(date +%s.%N)
read -r v _ </proc/uptime
echo "$boot $w $u $v"`

// touchScript gives files a time that no file of a server has, so that they are not
// passed over; those that did not come yet it leaves.
const touchScript = `cd "$1" && exec xargs -0 -r touch -c -h -d @1.000000001 --`

func localFileSystems() []string {
	return []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay"}
}

// copyingSince is the key of a note: when a run began to copy a tree.
func copyingSince(from, source string) string { return "copying-since." + from + ":" + source }

// since is when a copy began: on the source's clock, and in which boot of both hosts.
type since struct {
	wall, up     float64
	source, into string
}

func (s since) String() string {
	return fmt.Sprintf("%.6f %.2f %s %s", s.wall, s.up, s.source, s.into)
}

func parseSince(text string) (s since, err error) {
	f := strings.Fields(text)
	if len(f) != 4 {
		return s, errors.New("want four words")
	}
	wall, err := strconv.ParseFloat(f[0], 64)
	up, err2 := strconv.ParseFloat(f[1], 64)
	return since{wall, up, f[2], f[3]}, errors.Join(err, err2)
}

// goesOn reports that between both nobody booted or set the clock.
func (s since) goesOn(now since) bool {
	return s.source == now.source && s.into == now.into && math.Abs((now.wall-now.up)-(s.wall-s.up)) <= clockStep
}

// AppendSender is the name by which append asks for its sender.
const AppendSender = "append"

// quick is the command that passes over files of equal size and time.
func (e *Copy) quick(more ...string) []string {
	argv := slices.DeleteFunc(slices.Clone(e.Argv), func(a string) bool { return a == "--ignore-times" })
	return slices.Insert(argv, len(argv)-2, append([]string{"--modify-window=-1"}, more...)...) // nanoseconds
}

// clock reads one host's.
func (e *Copy) clock(ctx context.Context, h host.Runner, as string) (boot string, wall, up float64, err error) {
	var out bytes.Buffer
	if err := h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", clockScript, "pgrepctl-clock"}, As: as}, host.Stdio{Out: &out}); err != nil {
		return "", 0, 0, err
	}
	f := strings.Fields(out.String())
	if len(f) != 4 {
		return "", 0, 0, fmt.Errorf("clock: %q", out.String())
	}
	var n [3]float64
	for i := range n {
		if n[i], err = strconv.ParseFloat(f[i+1], 64); err != nil {
			return "", 0, 0, fmt.Errorf("clock: %w", err)
		}
	}
	if n[2]-n[1] > readingClock {
		return "", 0, 0, errors.New("the clock took too long to read")
	}
	return f[0], n[0], n[1], nil
}

// passOver reports whether files of equal size and time may be passed over. It notes
// when a copy begins; of one that goes on it makes sure that what the source has
// written since, or may have, does not look equal. What cannot be known is no error:
// everything is compared.
func (e *Copy) passOver(ctx context.Context, env Env, h host.Runner) (bool, error) {
	if !e.Alone {
		return false, nil
	}
	src, err := env.Host(ctx, e.From)
	if err != nil {
		return false, err
	}
	key := copyingSince(e.From, e.Source)
	known, noted := env.Known(key)
	if !e.Empty && !noted {
		return false, nil // begun by one that noted nothing
	}
	now, err := e.now(ctx, src, h)
	if err != nil {
		return false, context.Cause(ctx)
	}
	if e.Empty {
		return false, env.Note(ctx, Output{key: now.String()})
	}
	first, err := parseSince(known)
	if err != nil || !first.goesOn(now) {
		return false, nil
	}
	e.append(ctx, h)
	if err := e.touch(ctx, src, h, first); err != nil {
		return false, context.Cause(ctx)
	}
	return true, nil
}

func (e *Copy) now(ctx context.Context, src, h host.Runner) (s since, err error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		s.source, s.wall, s.up, err = e.clock(ctx, src, e.FromAs)
		return err
	})
	both.Go(func() (err error) {
		s.into, _, _, err = e.clock(ctx, h, e.As)
		return err
	})
	return s, both.Wait()
}

// append brings the rest of the files that the copy was at. What is there of one that was
// not written since is its beginning: the run has written nothing else to it. Others
// it may spoil; touch comes after it, and what it does not bring is compared like they are.
func (e *Copy) append(ctx context.Context, h host.Runner) {
	if !e.Appends {
		return
	}
	argv := e.quick("--append", "--existing", "--rsync-path="+AppendSender)
	_ = h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{Out: io.Discard})
}

// touch finds on the source what may have been written since, and makes it differ here.
// -H: the data directory may be behind a symlink, of which find would look at nothing, and
// what was written since would be passed over.
func (e *Copy) touch(ctx context.Context, src, h host.Runner, first since) error {
	find := []string{"find", "-H", e.Tree, "-ignore_readdir_race", "-type", "f", "(", "-newerct", fmt.Sprintf("@%.6f", first.wall-sinceMargin), "-o", "!", "("}
	for i, fs := range localFileSystems() {
		if i > 0 {
			find = append(find, "-o")
		}
		find = append(find, "-fstype", fs)
	}
	find = append(find, ")", ")", "-printf", `%P\0`)
	pr, pw := io.Pipe()
	found := make(chan error, 1)
	go func() {
		err := src.Run(ctx, host.Cmd{Argv: find, As: e.FromAs, Leash: true}, host.Stdio{Out: pw})
		_ = pw.CloseWithError(eof(err))
		found <- err
	}()
	err := h.Run(ctx, host.Cmd{Argv: []string{"sh", "-c", touchScript, "pgrepctl-touch", e.Into}, As: e.As}, host.Stdio{In: pr})
	_ = pr.CloseWithError(io.ErrClosedPipe)
	return errors.Join(err, <-found)
}

// haveTime bounds that look: of millions of files on a cold disk it takes long.
const haveTime = 2 * time.Minute

// have is how many bytes are there and are passed over, which those are not that touch has
// marked; 0 if that cannot be seen: it is only told.
func (e *Copy) have(ctx context.Context, h host.Runner) int64 {
	var out bytes.Buffer
	argv := []string{"find", "-H", e.Into, "-ignore_readdir_race", "-type", "f", "-newermt", "@2", "-printf", `%s\n`}
	if err := h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{Out: &out}); err != nil {
		return 0
	}
	total := int64(0)
	for line := range strings.Lines(out.String()) {
		n, err := strconv.ParseInt(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return 0
		}
		total += n
	}
	return total
}
