package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/status"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

const (
	// shortestWatch is the shortest interval: a reading takes as long.
	shortestWatch = 100 * time.Millisecond
	// patience is how long a round waits for hosts that do not answer before it
	// is shown without them.
	patience = 5 * time.Second
)

// result is what a command shows of what it has seen, on a terminal of a width (0:
// as wide as need be).
type result func(w io.Writer, width int, seen map[string]status.Result) error

func watchFlag(cmd *cobra.Command, every *time.Duration) {
	cmd.Flags().DurationVar(every, "watch", 0, "show it again each `interval`, over the same connections, until Ctrl-C")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
}

// watcher reads hosts again and again.
type watcher struct {
	a     *app
	s     *session
	hosts []*inventory.Host

	mu   sync.Mutex
	seen map[string]*sight
}

// sight is what was last learnt of a host, and whether it is being asked.
type sight struct {
	last  status.Result
	asked time.Time // the reading that goes on began then; zero: none does
}

func (a *app) watch(ctx context.Context, cmd *cobra.Command, s *session, every time.Duration, show result) error {
	if every < shortestWatch {
		return usage(cmd, fmt.Errorf("--watch=%s: want %s or more", every, shortestWatch))
	}
	w := &watcher{a: a, s: s, hosts: s.inv.Hosts, seen: map[string]*sight{}}
	for _, h := range w.hosts {
		w.seen[h.Name] = &sight{}
	}
	table := a.set.Output() == "table"
	screen := table && !a.set.Plain() && ui.IsTerminal(a.Out) && a.Env("TERM") != "" && a.Env("TERM") != "dumb"
	size := ui.SizeOf(a.Out)
	v := ui.NewWatch(a.Out, ui.WatchOptions{Screen: screen, Size: size})
	defer func() { _ = v.Close() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	// The first round connects.
	for wait := patience; ; wait = min(max(every, time.Second), patience) {
		w.round(ctx, wait)
		if ctx.Err() != nil {
			return watchEnded(ctx)
		}
		var b bytes.Buffer
		width := 0
		if screen {
			width, _ = size()
		}
		if err := show(&b, width, w.results()); err != nil {
			return err
		}
		var err error
		switch {
		case table:
			err = v.Show(b.String())
		case a.set.Output() == "yaml":
			_, err = io.WriteString(a.Out, "---\n"+b.String())
		default:
			_, err = a.Out.Write(b.Bytes())
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return watchEnded(ctx)
		case <-tick.C:
		}
	}
}

// watchEnded: Ctrl-C is how a watch ends, and no failure.
func watchEnded(ctx context.Context) error {
	if err := context.Cause(ctx); fault.ClassOf(err) != fault.Interrupted {
		return err
	}
	return nil
}

// round asks every host that is not being asked, and waits for them: those of an
// earlier round that still do not answer hold nobody up.
func (w *watcher) round(ctx context.Context, wait time.Duration) {
	var asked sync.WaitGroup
	for _, h := range w.hosts {
		s := w.seen[h.Name]
		w.mu.Lock()
		busy := !s.asked.IsZero()
		if !busy {
			s.asked = time.Now()
		}
		w.mu.Unlock()
		if busy {
			continue
		}
		asked.Go(func() {
			res := w.a.readOne(ctx, w.s, h, (*live.Gatherer).Glance)
			w.mu.Lock()
			defer w.mu.Unlock()
			s.last, s.asked = res.Following(s.last), time.Time{}
		})
	}
	all := make(chan struct{})
	go func() {
		asked.Wait()
		close(all)
	}()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case <-ctx.Done():
	case <-all:
	case <-limit.C:
	}
}

// results are those of the last round. What a host said before it fell silent is
// no longer true of it.
func (w *watcher) results() map[string]status.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]status.Result{}
	for name, s := range w.seen {
		out[name] = s.last
		if !s.asked.IsZero() {
			err := s.last.Err // says more than that the next try lasts
			if err == nil {
				err = fmt.Errorf("no answer for %s", time.Since(s.asked).Round(100*time.Millisecond))
			}
			out[name] = status.Result{Err: err, At: time.Now()}
		}
	}
	return out
}
