package effect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// CommitLimit is how long a commit on the source may take while a copy goes on,
// before the copy makes room. A zero Most is twice what it took before the copy, and
// not less than CommitFloor.
type CommitLimit struct {
	Off  bool          `json:"off,omitempty"`
	Most time.Duration `json:"most,omitempty"`
}

// CommitFloor: below it nobody waits for a commit.
const CommitFloor = 5 * time.Millisecond

func (l CommitLimit) String() string {
	if l.Most > 0 {
		return l.Most.String()
	}
	return fmt.Sprintf("%s, and over twice as long as before", CommitFloor)
}

// Lowly is how a shell of the copy begins that asks for nothing but what other processes
// leave of the processors. A nice value alone does not do: it counts only among the
// processes of a session where the kernel has autogroups, and a process that computes is
// not preempted at once by one that wakes up, as a backend does at each statement (from
// 6.6 on). One of SCHED_IDLE is.
const Lowly = "{ echo 19 >/proc/self/autogroup; renice -n 19 -p $$; chrt -i -p 0 $$; } >/dev/null 2>&1; "

// LowlySender is Lowly at the source, where sshd, which is the shell's parent, encrypts.
// dir, quoted, is what is copied. Of a file system that locks a file while it is read, as
// XFS does, a reader that gets no processor would keep the server from writing to it: it
// has its tenth there.
func LowlySender(dir string) string {
	return "{ echo 10 >/proc/self/autogroup; renice -n 10 -p $$ $PPID; case $(stat -f -c %T " + dir + ") in ext2/ext3|tmpfs) chrt -i -p 0 $$; chrt -i -p 0 $PPID;; esac; } >/dev/null 2>&1; "
}

// governor slows a copy down while the commits of its source take too long. What it
// measures is a commit of its own, four times a second: a few dozen bytes of WAL, and
// flushed, and waited for by synchronous standbys, like those of the clients.
//
// It holds the receiving processes for a part of each second. What they do not
// read, the source cannot send, nor read from its disks.
type governor struct {
	limit CommitLimit
	probe string // a commit: see postgres.Version.ProbeCommit
	host  string // of the server
	warn  func(string)
	way   time.Duration // to the server and back, at least
	last  int64         // our last transaction id
	busy  []bool        // others had some since the one before

	mu     sync.Mutex
	before []time.Duration
	recent []time.Duration
	brake  float64 // the part of each second
	told   bool
	// pressed: the slot is about to lose the WAL that the copy needs, which only
	// its end helps against.
	pressed bool
}

const (
	commitInterval = 250 * time.Millisecond
	commitBefore   = 7 // commits that tell what was before the copy
	commitRecent   = 5
	commitPatience = 10 * time.Second
	// mostBrake leaves a copy a tenth: one that stands keeps WAL for ever, and
	// what slows the server down may be something else.
	mostBrake = 0.9
)

// commit measures one. The way to the server is ours alone, and does not count: not
// more of it than it takes at least, for what a question waits in a busy server, a
// client waits too.
func (g *governor) commit(ctx context.Context, s host.SQL) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	var rows []struct {
		Commit int64 `json:"commit"`
	}
	began := time.Now()
	if err := s.Query(ctx, &rows, "select 1 as way"); err != nil {
		return 0, err
	}
	if way := time.Since(began); g.way == 0 || way < g.way {
		g.way = way
	}
	began = time.Now()
	if err := s.Query(ctx, &rows, g.probe); err != nil {
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return commitPatience, nil
		}
		return 0, err
	}
	took := max(0, time.Since(began)-g.way)
	if len(rows) == 1 {
		g.busy = append(g.busy, rows[0].Commit-g.last > 1)
		g.busy = g.busy[max(0, len(g.busy)-commitRecent):]
		g.last = rows[0].Commit
	}
	return took, nil
}

// alone: nobody but us has begun a transaction that writes, for a while. A server
// that has all its processor to itself may have some of it taken away.
func (g *governor) alone() bool { return !slices.Contains(g.busy, true) }

// took takes what a commit took, and says whether that was one from before the copy.
func (g *governor) took(d time.Duration) (before bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.before = append(g.before, d); len(g.before) <= commitBefore {
		return true
	}
	g.before = g.before[:commitBefore]
	g.recent = append(g.recent, d)
	if len(g.recent) > commitRecent {
		g.recent = g.recent[1:]
	}
	now := median(g.recent)
	if len(g.recent) < commitRecent/2+1 || now <= g.most() || g.pressed || g.alone() {
		g.brake = max(0, g.brake-0.02)
		return false
	}
	g.brake = min(mostBrake, g.brake+(1-g.brake)*0.25)
	if !g.told {
		g.told = true
		g.warn(fmt.Sprintf("commits take %s, and took %s before the copy, which slows down (limit %s)", rounded(now), rounded(median(g.before)), rounded(g.most())))
	}
	return false
}

func (g *governor) most() time.Duration {
	if g.limit.Most > 0 {
		return g.limit.Most
	}
	return max(CommitFloor, 2*median(g.before))
}

// press: see pressed.
func (g *governor) press(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pressed = on
}

// said is for the progress.
func (g *governor) said() string {
	if g == nil {
		return ""
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.brake < 0.05 {
		return ""
	}
	return fmt.Sprintf("slowed down by %.0f%%, commits on %s take %s", g.brake*100, g.host, rounded(median(g.recent)))
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// brakeScript reads seconds, and a path that the commands to hold have in their
// arguments, and holds these for so long. At its end nothing is held.
const brakeScript = `own=
trap 'kill -s CONT $own 2>/dev/null; exit 0' TERM HUP INT
while read -r seconds key; do
	own=
	for c in /proc/[0-9]*/comm; do
		read -r name <"$c" && [ "$name" = rsync ] && grep -qsF -- "$key" "${c%comm}cmdline" || continue
		c=${c%/comm}
		own="$own ${c#/proc/}"
	done 2>/dev/null
	[ -n "$own" ] || continue
	kill -s STOP $own 2>/dev/null
	sleep "$seconds"
	kill -s CONT $own 2>/dev/null
done`

// hold applies the brake until ctx ends. It starts nothing before there is need.
func (g *governor) hold(ctx context.Context, env Env, e *Copy) {
	var lines *io.PipeWriter
	var running sync.WaitGroup
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if lines != nil {
				_ = lines.Close()
			}
			running.Wait()
			return
		case <-t.C:
		}
		g.mu.Lock()
		part := g.brake
		g.mu.Unlock()
		if part < 0.05 {
			continue
		}
		if lines == nil {
			h, err := env.Host(ctx, e.Host)
			if err != nil {
				return
			}
			var in *io.PipeReader
			in, lines = io.Pipe()
			running.Go(func() {
				// It ends with its input: a held process must not stay so.
				err := h.Run(context.WithoutCancel(ctx), host.Cmd{Argv: []string{"sh", "-c", brakeScript}, As: e.As}, host.Stdio{In: in})
				_ = in.CloseWithError(errors.Join(err, io.ErrClosedPipe))
			})
		}
		if _, err := fmt.Fprintf(lines, "%.2f %s\n", part, e.Key); err != nil {
			return
		}
	}
}
