package effect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// clocked is a host with a clock.
type clocked struct {
	*hosttest.Script
	boot     string
	wall, up float64
	slow     float64  // how long the reading takes
	written  string   // what find says was written since
	find     []string // what it was asked
	fail     error    // of find, or of touch
	touched  string
	rsync    []string
	order    []string
}

func (c *clocked) Run(_ context.Context, cmd host.Cmd, stdio host.Stdio) error {
	switch {
	case slices.Contains(cmd.Argv, "pgrepctl-clock"):
		_, err := fmt.Fprintf(stdio.Out, "%s %.9f %.2f %.2f\n", c.boot, c.wall, c.up, c.up+c.slow)
		return err
	case slices.Contains(cmd.Argv, "pgrepctl-touch"):
		b, err := io.ReadAll(stdio.In)
		c.touched = string(b)
		c.order = append(c.order, "touch")
		if c.fail != nil {
			return c.fail
		}
		return err
	case slices.Contains(cmd.Argv, "-newermt"):
		_, err := io.WriteString(stdio.Out, "1048576\n2097152\n")
		return err
	case cmd.Argv[0] == "find":
		c.find = cmd.Argv
		_, err := io.WriteString(stdio.Out, c.written)
		if c.fail != nil {
			return c.fail
		}
		return err
	case cmd.Argv[0] == "rsync":
		if _, err := io.WriteString(stdio.Out, "524288 50%\r"); err != nil {
			return err
		}
		c.rsync = cmd.Argv
		c.order = append(c.order, "copy")
		if slices.Contains(cmd.Argv, "--append") {
			c.order[len(c.order)-1] = "append"
		}
		return nil
	}
	return fmt.Errorf("not expected: %s", cmd)
}

func TestACopyThatGoesOnPassesOverWhatCannotHaveChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(e *effect.Copy, src, self *clocked)
		forget bool // the beginning was not noted
		want   bool
	}{
		"goes on":                          {want: true},
		"nobody noted when it began":       {forget: true},
		"another run has copied into it":   {change: func(e *effect.Copy, _, _ *clocked) { e.Alone = false }},
		"the source's clock was set back":  {change: func(_ *effect.Copy, src, _ *clocked) { src.wall -= 3600 }},
		"the source's clock was set ahead": {change: func(_ *effect.Copy, src, _ *clocked) { src.wall += 3 }},
		"the source's clock was slewed":    {change: func(_ *effect.Copy, src, _ *clocked) { src.wall += 0.3 }, want: true},
		"the clock cannot be told":         {change: func(_ *effect.Copy, src, _ *clocked) { src.slow = 2 }},
		"the source was booted":            {change: func(_ *effect.Copy, src, _ *clocked) { src.boot = "other" }},
		"the standby was booted":           {change: func(_ *effect.Copy, _, self *clocked) { self.boot = "other" }},
		"the source's find has failed":     {change: func(_ *effect.Copy, src, _ *clocked) { src.fail = exit(1, "no such flag") }},
		"touch has failed":                 {change: func(_ *effect.Copy, _, self *clocked) { self.fail = exit(123, "not ours") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := &clocked{Script: hosttest.NewScript(t, "pg0", hosttest.NewFS()), boot: "a", wall: 1700000000.25, up: 5000, written: "base/5/16400\x00base/5/16401\x00"}
			self := &clocked{Script: hosttest.NewScript(t, "pg1", hosttest.NewFS()), boot: "b", wall: 1, up: 70}
			in := newEnv(src, self)
			in.known = effect.Output{}
			e := copyOf()
			e.Argv = []string{"rsync", "--ignore-times", "src:/data/", "/data/"}
			e.Tree, e.Source, e.Alone, e.Empty = "/data", "/data", true, true
			do(t, e, in)
			if len(in.known) != 1 || !slices.Contains(self.rsync, "--ignore-times") || src.find != nil {
				t.Fatalf("the first copy noted %v, and ran %q", in.known, self.rsync)
			}
			src.wall, src.up, self.up = src.wall+90, src.up+90, self.up+90
			if c.forget {
				clear(in.known)
			}
			e.Empty, e.Appends, self.order = false, true, nil
			if c.change != nil {
				c.change(e, src, self)
			}
			do(t, e, in)
			if !c.want {
				if slices.Contains(self.rsync, "--modify-window=-1") || !slices.Contains(self.rsync, "--ignore-times") {
					t.Errorf("not all was compared: %q", self.rsync)
				}
				return
			}
			if got := in.progress[len(in.progress)-1].Bytes; got != 3145728+524288 {
				t.Errorf("it told of %d bytes, with those that it passed over", got)
			}
			if !slices.Contains(self.rsync, "--modify-window=-1") || slices.Contains(self.rsync, "--ignore-times") {
				t.Errorf("all was compared: %q", self.rsync)
			}
			// What append may have spoiled is touched after it.
			if got := strings.Join(self.order, " "); got != "append touch copy" {
				t.Errorf("order: %s", got)
			}
			if self.touched != src.written {
				t.Errorf("touched: %q", self.touched)
			}
			// Five seconds before the first copy began.
			if find := strings.Join(src.find, " "); !strings.Contains(find, "-newerct @1699999995.250000 -o ! ( -fstype ext2 ") {
				t.Errorf("looked for %s", find)
			}
		})
	}
}

// A data directory that is a symlink to a disk of its own is a usual one.
func TestWhatWasWrittenSinceIsFoundBehindASymlink(t *testing.T) {
	t.Parallel()
	real, link := t.TempDir(), filepath.Join(t.TempDir(), "main")
	if err := errors.Join(os.WriteFile(filepath.Join(real, "16400"), []byte("x"), 0o600), os.Symlink(real, link)); err != nil {
		t.Fatal(err)
	}
	src := &clocked{Script: hosttest.NewScript(t, "pg0", hosttest.NewFS()), boot: "a", wall: 1700000000, up: 5000}
	self := &clocked{Script: hosttest.NewScript(t, "pg1", hosttest.NewFS()), boot: "b", wall: 1, up: 70}
	in := newEnv(src, self)
	in.known = effect.Output{}
	e := copyOf()
	e.Argv, e.Tree, e.Source, e.Alone, e.Empty = []string{"rsync", "src:/data/", "/data/"}, link, link, true, true
	do(t, e, in)
	e.Empty = false
	do(t, e, in)
	if src.find == nil {
		t.Fatal("it was not looked for")
	}
	out, err := osexec.CommandContext(t.Context(), src.find[0], src.find[1:]...).Output()
	if err != nil || string(out) != "16400\x00" {
		t.Errorf("%q, %v", out, err)
	}
}
