package effect_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// runner is a host that runs one command.
type runner struct {
	*hosttest.Script
	run func(ctx context.Context, c host.Cmd, stdio host.Stdio) error
}

func (r runner) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	return r.run(ctx, c, stdio)
}

// mib are the looks at a disk of so many MiB in all, each at what is free.
func mib(total int, free ...int) string {
	var b strings.Builder
	for _, f := range free {
		fmt.Fprintf(&b, "%d %d %d\n", 1<<20, total, f)
	}
	return b.String()
}

// watched copies from a host whose disk is seen as looks say. The copy ends when
// it is cancelled or, after all looks, by itself.
func watched(t *testing.T, looks string) error {
	t.Helper()
	seen := make(chan struct{})
	upstream := runner{hosttest.NewScript(t, "pg0", hosttest.NewFS()), func(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
		if line := c.String(); c.As != "postgres" || !c.Leash || !strings.Contains(line, "stat -f") || !strings.HasSuffix(line, " /data/pg_wal") {
			t.Errorf("asked to run %q as %q, leashed: %t", line, c.As, c.Leash)
		}
		_, err := io.WriteString(stdio.Out, looks)
		if err == nil {
			// Whoever reads this has thought about all before it.
			_, err = io.WriteString(stdio.Out, "no number\n")
		}
		close(seen)
		<-ctx.Done()
		return err
	}}
	target := runner{hosttest.NewScript(t, "pg1", hosttest.NewFS()), func(ctx context.Context, _ host.Cmd, _ host.Stdio) error {
		<-seen
		select {
		case <-ctx.Done():
			return ctx.Err()
		default:
			return nil
		}
	}}
	e := copyOf()
	e.Slot, e.WAL = "pg1", effect.WALSpace{As: "postgres", Dir: "/data/pg_wal", Segment: 16 << 20}
	_, err := e.Do(t.Context(), newEnv(upstream, target))
	return err
}

func TestACopyIsGivenUpBeforeTheWALDiskIsFull(t *testing.T) {
	t.Parallel()
	for name, looks := range map[string]string{
		"a tenth of it is not free":                 mib(10_000, 5000, 2000, 999),
		"5 GiB of a large one are not free":         mib(1_000_000, 6000, 5119),
		"two segments of a small one do not fit":    mib(200, 40, 31),
		"at this pace it is full in three looks":    mib(10_000, 9000, 6000),
		"it is seen at the first look":              mib(10_000, 500),
		"what is no number says nothing":            "stat: warning\n" + mib(10_000, 500),
		"the pace counts from one look to the next": mib(10_000, 9000, 8900, 6000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := watched(t, looks)
			if fault.ClassOf(err) != fault.Failed {
				t.Fatalf("got %v", err)
			}
			for _, word := range []string{"pg1: copy the data directory from pg0: pg0: its disk for WAL is nearly full", "/data/pg_wal", "slot pg1"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not say %q", err, word)
				}
			}
		})
	}
}

func TestACopyGoesOnWhileTheWALDiskHasRoom(t *testing.T) {
	t.Parallel()
	for name, looks := range map[string]string{
		"a tenth is free":          mib(10_000, 1002, 1001, 1000),
		"5 GiB are free":           mib(1_000_000, 5130, 5125, 5120),
		"room is made":             mib(10_000, 2000, 9000),
		"the host cannot be asked": "stat: cannot read file system information\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := watched(t, looks); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAPreviewOfACopySaysWhenItGivesUp(t *testing.T) {
	t.Parallel()
	e := copyOf()
	if got, want := e.Describe().Detail, "from pg0 into /data (rsync)"; got != want {
		t.Errorf("without a slot: %s", got)
	}
	e.Slot, e.WAL.Dir = "pg1", "/data/pg_wal"
	if got, want := e.Describe().Detail, "from pg0 into /data (rsync; gives up when pg0 has less than 10 %, or 5 GiB, free for WAL)"; got != want {
		t.Errorf("got %s", got)
	}
}
