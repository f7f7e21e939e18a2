package effect_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// pulls is a standby's host on which each rsync is played by of.
type pulls struct {
	mu   sync.Mutex
	runs [][]string
	held []string // the lines that the brake got
	sync []string // what was written out, and how often
	// flushed, if set, is how the nth flush ends.
	flushed func(n int) error
	of      func(ctx context.Context, argv []string, run int, report func(bytes int64)) error
}

func (p *pulls) do(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if slices.Contains(c.Argv, "pgrepctl-flush") {
		return p.flush(ctx, c, stdio)
	}
	if c.Argv[0] == "sh" {
		b, err := io.ReadAll(stdio.In)
		p.mu.Lock()
		p.held = append(p.held, strings.Split(strings.TrimSpace(string(b)), "\n")...)
		p.mu.Unlock()
		return err
	}
	p.mu.Lock()
	p.runs = append(p.runs, c.Argv)
	n := len(p.runs)
	p.mu.Unlock()
	err := p.of(ctx, c.Argv, n, func(b int64) { _, _ = fmt.Fprintf(stdio.Out, "%d  50%%\r", b) })
	var ended *host.ExitError
	if errors.As(err, &ended) {
		ended.Cmd = c
	}
	return err
}

// flush answers each line, and ends with the last; it must not be ended by us.
func (p *pulls) flush(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	n := 0
	for lines := bufio.NewScanner(stdio.In); lines.Scan(); {
		n++
		time.Sleep(100 * time.Millisecond)
		if p.flushed != nil {
			if err := p.flushed(n); err != nil {
				var ended *host.ExitError
				if errors.As(err, &ended) {
					ended.Cmd = c
				}
				return err
			}
		}
		if _, err := io.WriteString(stdio.Out, "\n"); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sync = append(p.sync, fmt.Sprintf("%s %d times, beside %s, leashed %t", c.Argv[len(c.Argv)-2], n, c.Argv[len(c.Argv)-1], c.Leash))
	return nil
}

// server is a source's session whose commits take as long as commit says.
type server struct {
	*hosttest.Script
	commit func() time.Duration
	ids    *int64 // transactions of all, of which each of ours is followed by some
	others int64
	file   int64 // bytes of each of the files
	// oldest is the place of the first WAL file that is still there.
	oldest func() string
}

func (s server) SQL(context.Context, host.Database) (host.SQL, error) { return s, nil }
func (s server) Exec(context.Context, string) error                   { return nil }
func (s server) Lost() <-chan struct{}                                { return nil }
func (s server) Close(context.Context) error                          { return nil }
func (s server) Query(_ context.Context, rows any, sql string, _ ...any) error {
	time.Sleep(time.Millisecond)
	if s.oldest != nil && strings.Contains(sql, "pg_ls_dir('pg_wal')") {
		return json.Unmarshal(fmt.Appendf(nil, `[{"name":"00000003%s","size":%d}]`, s.oldest(), 16<<20), rows)
	}
	if !strings.Contains(sql, "txid_current") {
		return nil
	}
	time.Sleep(s.commit())
	*s.ids += 1 + s.others
	return json.Unmarshal(fmt.Appendf(nil, `[{"commit":%d}]`, *s.ids), rows)
}

// Run answers find with a tree of four files, ending in 00, 01, …
func (s server) Run(_ context.Context, c host.Cmd, stdio host.Stdio) error {
	if c.Argv[0] != "find" || c.As != "postgres" {
		return fmt.Errorf("not expected: %s", c)
	}
	for n := range 4 {
		if _, err := fmt.Fprintf(stdio.Out, "%d base/5/164%02d\x00", cmp.Or(s.file, 64<<20), n); err != nil {
			return err
		}
	}
	return exit(1, "find: a file vanished")
}

// pull copies in two streams.
func pull(t *testing.T, p *pulls, change func(e *effect.Copy, s *server)) (effect.Output, *env, error) {
	t.Helper()
	e := copyOf()
	e.Argv = []string{"rsync", "--ignore-times", "src:/data/", "/data/"}
	e.Streams, e.Tree, e.Total, e.WAL.As = 2, "/data", 256<<20, "postgres"
	src := server{hosttest.NewScript(t, "pg0", hosttest.NewFS()), func() time.Duration { return time.Millisecond }, new(int64), 10, 0, nil}
	if change != nil {
		change(e, &src)
	}
	in := newEnv(src, runner{hosttest.NewScript(t, "pg1", hosttest.NewFS()), p.do})
	out, err := e.Do(t.Context(), in)
	return out, in, err
}

func has(argv []string, word string) bool { return slices.Contains(argv, word) }

func TestTheStreamsOfACopyAddUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pulls{of: func(_ context.Context, _ []string, _ int, report func(int64)) error {
			for n := range int64(4) {
				time.Sleep(time.Second)
				report((n + 1) << 25)
			}
			return nil
		}}
		out, in, err := pull(t, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.runs) != 2 || !has(p.runs[0], "--include=*/") || slices.Equal(p.runs[0], p.runs[1]) {
			t.Errorf("%q", p.runs)
		}
		for _, argv := range p.runs {
			if tail := argv[len(argv)-2:]; !slices.Equal(tail, []string{"src:/data/", "/data/"}) || !has(argv, "--ignore-times") {
				t.Errorf("%q", argv)
			}
		}
		if last := in.progress[len(in.progress)-1]; last != (event.Progress{Bytes: 256 << 20, Total: 256 << 20}) {
			t.Errorf("%+v", in.progress)
		}
		if out["copy.streams.data"] != "2" {
			t.Errorf("%v", out)
		}
		if !slices.Equal(p.sync, []string{"/data 3 times, beside /data, leashed false"}) {
			t.Errorf("written out while it came: %q", p.sync)
		}
	})
}

func TestABrokenStreamGoesOnFromWhatIsThere(t *testing.T) {
	t.Parallel()
	for _, empty := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			broke := 0
			p := &pulls{of: func(_ context.Context, argv []string, run int, report func(int64)) error {
				report(1 << 20)
				time.Sleep(time.Second)
				if has(argv, "--exclude=*") && broke < 3 {
					broke++
					return exit(137, "")
				}
				report(128 << 20)
				return nil
			}}
			began := time.Now()
			_, in, err := pull(t, p, func(e *effect.Copy, _ *server) { e.Empty = empty })
			if err != nil {
				t.Fatal(err)
			}
			want := "stream 2 of 2: rsync broke, killed by signal 9; try 1 of 3, which goes on from what is there, in 2s"
			if len(in.warnings) != 3 || in.warnings[0] != want {
				t.Errorf("%q", in.warnings)
			}
			if took := time.Since(began); took != (1+2+1+4+1+8+1)*time.Second {
				t.Errorf("took %s", took)
			}
			// What is passed over was told of before, and is not told again.
			if last := in.progress[len(in.progress)-1]; empty && last.Bytes != 256<<20 {
				t.Errorf("in the end %+v", last)
			}
			// What an earlier backup has left is compared byte by byte, always.
			if last := p.runs[len(p.runs)-1]; has(last, "--whole-file") != empty || has(last, "--ignore-times") == empty {
				t.Errorf("into an empty directory: %t, again: %q", empty, last)
			}
		})
	}
}

func TestAStreamThatBreaksAgainAndAgainEndsTheCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pulls{of: func(ctx context.Context, argv []string, _ int, _ func(int64)) error {
			if has(argv, "--exclude=*") {
				return exit(12, "ssh: connect to host pg0: Connection refused\nrsync error: unexplained error")
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		_, in, err := pull(t, p, nil)
		wantFault(t, err, "pg1: copy the data directory from pg0: rsync: exit status 12: rsync error: unexplained error", fault.Failed)
		if len(p.runs) != 5 || !strings.Contains(in.warnings[2], "ssh: connect to host pg0: Connection refused; try 3 of 3") {
			t.Errorf("%d runs, %q", len(p.runs), in.warnings)
		}
	})
}

func TestAFullDiskIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pulls{of: func(context.Context, []string, int, func(int64)) error { return exit(11, "No space left on device") }}
		_, in, err := pull(t, p, nil)
		wantFault(t, err, "pg1: copy the data directory from pg0: rsync: exit status 11: No space left on device", fault.Failed)
		if len(in.warnings) > 0 {
			t.Errorf("%q", in.warnings)
		}
	})
}

// streamMiB is what a stream of linked has to bring.
const streamMiB = 8192

// linked plays streams of a link on which a compressed one brings zstd MiB a second,
// and another one plain.
func linked(zstd, plain int64) *pulls {
	var mu sync.Mutex
	done := map[bool]int64{} // by the stream: what an earlier run has brought
	return &pulls{of: func(ctx context.Context, argv []string, _ int, report func(int64)) error {
		second := has(argv, "--exclude=*")
		rate := plain
		if has(argv, "--rsync-path=zstd") {
			rate = zstd
		}
		mu.Lock()
		n := done[second]
		mu.Unlock()
		for n < streamMiB {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			n += rate
			report(n << 20)
			mu.Lock()
			done[second] = n
			mu.Unlock()
		}
		return nil
	}}
}

func TestTheFasterWayIsFoundOutAndTaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		zstd, plain, file int64
		runs              int
		how               string
	}{
		"a slow link":           {40, 10, 4 << 30, 4, "zstd:1, 4.0 times as fast"},
		"a slow processor":      {50, 100, 4 << 30, 4, "no compression, 2.0 times as fast"},
		"no difference to tell": {100, 105, 4 << 30, 3, "zstd:1, a stream without it is no faster and no slower"},
		"soon at its end":       {100, 1000, 1 << 30, 2, "zstd:1; the rest is too short to try it without"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := linked(c.zstd, c.plain)
				began := time.Now()
				out, in, err := pull(t, p, func(e *effect.Copy, s *server) { e.Compress, e.Empty, s.file = "auto", true, c.file })
				if err != nil {
					t.Fatal(err)
				}
				if len(p.runs) != c.runs || out["copy.compression.data"] != c.how {
					t.Errorf("%d runs, %v", len(p.runs), out)
				}
				slower := time.Duration(streamMiB/min(c.zstd, c.plain)) * time.Second
				if took := time.Since(began); c.runs == 4 && took > slower*2/3 {
					t.Errorf("took %s, all of it the other way takes %s", took, slower)
				}
				if first := in.progress[0].Note; first != "zstd:1" {
					t.Errorf("said %q", first)
				}
			})
		})
	}
}

func TestACopyMakesRoomForSlowCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := &pulls{of: func(_ context.Context, _ []string, _ int, report func(int64)) error {
			for n := range int64(60) {
				time.Sleep(time.Second)
				report(n << 20)
			}
			return nil
		}}
		_, in, err := pull(t, p, func(e *effect.Copy, s *server) {
			e.Commits, e.Key = effect.CommitLimit{}, "/dev/shm/key"
			s.commit = func() time.Duration {
				if at := time.Since(began); at > 5*time.Second && at < 20*time.Second {
					return 30 * time.Millisecond
				}
				return 3 * time.Millisecond
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := "commits take 30ms, and took 3ms before the copy, which slows down (limit 6ms)"; len(in.warnings) != 1 || in.warnings[0] != want {
			t.Errorf("%q", in.warnings)
		}
		// From a quarter of each second to nine tenths, and to nothing again.
		if len(p.held) < 20 || len(p.held) > 40 || p.held[0][:3] == "0.9" || !slices.Contains(p.held, "0.90 /dev/shm/key") || !strings.HasPrefix(p.held[len(p.held)-1], "0.0") && !strings.HasPrefix(p.held[len(p.held)-1], "0.1") {
			t.Errorf("held for %q", p.held)
		}
		notes := map[string]bool{}
		for _, x := range in.progress {
			notes[x.Note] = true
		}
		if !notes["slowed down by 90%, commits on pg0 take 30ms"] || in.progress[len(in.progress)-1].Note != "" {
			t.Errorf("said %v", notes)
		}
	})
}

func TestWhatNobodyWaitsForIsNoReasonToSlowDown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		later  time.Duration
		others int64
	}{
		"commits of 4 ms":   {4 * time.Millisecond, 10},
		"nobody else there": {400 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := &pulls{of: func(context.Context, []string, int, func(int64)) error { time.Sleep(30 * time.Second); return nil }}
				_, in, err := pull(t, p, func(e *effect.Copy, s *server) {
					e.Commits, s.others = effect.CommitLimit{}, c.others
					s.commit = func() time.Duration {
						if time.Since(began) > 5*time.Second {
							return c.later
						}
						return 500 * time.Microsecond
					}
				})
				if err != nil || len(in.warnings)+len(p.held) > 0 {
					t.Errorf("%v, %q, %q", err, in.warnings, p.held)
				}
			})
		})
	}
}

// Without a slot or an archive a copy of hours would be found useless at its end only.
func TestACopyIsGivenUpWhenTheWALThatItBeganWithIsRemoved(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		unkept bool
		oldest string // after half a minute
		gone   bool
	}{
		"it is removed":                 {true, "0000000200000010", true},
		"the file before it is removed": {true, "000000020000000F", false},
		"an archive has it":             {false, "0000000200000010", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := &pulls{of: func(ctx context.Context, _ []string, _ int, _ func(int64)) error {
					select {
					case <-time.After(time.Minute):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}}
				_, _, err := pull(t, p, func(e *effect.Copy, s *server) {
					e.Unkept, e.Backup = c.unkept, "2/F000028"
					e.Version = postgres.MakeVersion(15)
					s.oldest = func() string {
						if time.Since(began) < 30*time.Second {
							return "0000000200000001"
						}
						return c.oldest
					}
				})
				took := time.Since(began)
				if !c.gone {
					if err != nil || took < time.Minute {
						t.Errorf("after %s: %v", took, err)
					}
					return
				}
				wantFault(t, err, "pg1: copy the data directory from pg0: pg0: it has removed the WAL that this copy began with (file …000000020000000F; the oldest is …0000000200000010), and neither a slot nor an archive keeps it", fault.Failed)
				if took > 41*time.Second {
					t.Errorf("it was given up after %s", took)
				}
			})
		})
	}
}
