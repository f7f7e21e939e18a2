// Package poll looks at hosts for the check: one connection a host, kept, and made
// again when it is lost. It only reads.
package poll

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/facts/live"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Dialer connects hosts, and dials one again whose login was refused when it is told
// to.
type Dialer interface {
	host.Dialer
	Forgive(name string)
}

// forgiveAfter is how long a refused login is not repeated: sshd may lock us out for
// it (PerSourcePenalties of OpenSSH 9.8).
const forgiveAfter = time.Minute

// Host looks at one host, again and again. Looks are for one goroutine at a time; Plans
// and KeptOut, which may take longer, for another one beside it.
type Host struct {
	dialer  Dialer
	inv     *inventory.Host
	cluster string
	now     func() time.Time

	// Of Look:
	conn host.Host
	live *live.Gatherer

	// Of Plans: the directory of the copies of journals, empty until found.
	runs string

	mu sync.Mutex
	// refused is when the login was refused first, zero when it was not.
	refused time.Time
}

// New looks at the host that the inventory calls inv. Nothing is dialed yet.
func New(d Dialer, cluster string, inv *inventory.Host, now func() time.Time) *Host {
	return &Host{dialer: d, inv: inv, cluster: cluster, now: now}
}

// Name of the host.
func (h *Host) Name() string { return h.inv.Name }

// Look asks the host once. What goes wrong is in the observation.
func (h *Host) Look(ctx context.Context) check.Observation {
	at := h.now()
	s, err := h.pulse(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	o := check.Observe(h.inv.Name, at, s, err)
	o.Answered = h.now()
	return o
}

func (h *Host) pulse(ctx context.Context) (facts.Server, error) {
	c, err := h.connect(ctx)
	if err != nil {
		return facts.Server{}, err
	}
	if c != h.conn { // the last one was lost
		h.conn, h.live = c, live.New(c, h.inv)
	}
	return h.live.Pulse(ctx)
}

// connect is the connection, made again when it was lost.
func (h *Host) connect(ctx context.Context) (host.Host, error) {
	if h.forgives() {
		h.dialer.Forgive(h.inv.Name)
	}
	c, err := h.dialer.Dial(ctx, h.inv.Name)
	if err != nil && fault.ClassOf(err) == fault.Auth {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.refused.IsZero() {
			h.refused = h.now()
		}
	}
	return c, err
}

// forgives reports whether a refused login is so long ago that it may be repeated, and
// forgets it then.
func (h *Host) forgives() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused.IsZero() || h.now().Sub(h.refused) < forgiveAfter {
		return false
	}
	h.refused = time.Time{}
	return true
}

// KeptOut reports whether one of the member's health files is there, whatever is in it
// and whoever may read it. An error: that cannot be told.
func (h *Host) KeptOut(ctx context.Context, m check.Member) (bool, error) {
	if len(m.Files) == 0 {
		return false, nil
	}
	c, err := h.connect(ctx)
	if err != nil {
		return false, err
	}
	files := c.Files(h.inv.Postgres.OSUser)
	var failed error
	for _, p := range m.Files {
		there, err := host.Exists(ctx, files, p)
		if there {
			return true, nil // whatever is with the others
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("look for %s on %s: %w", p, h.inv.Name, err))
		}
	}
	return false, failed
}

// maxJournal bounds the bytes of a journal that is read.
const maxJournal = 32 << 20

// Plans reads from the primary what runs did to hosts of the cluster: runs that
// are going on, or were interrupted, keep a copy of their journal there. seen is
// the last answer of its server, which says who holds the cluster lock.
func (h *Host) Plans(ctx context.Context, seen facts.Server, members []check.Member) (map[string]check.Plan, error) {
	c, err := h.connect(ctx)
	if err != nil {
		return nil, err
	}
	as := h.inv.Postgres.OSUser
	if h.runs == "" {
		dir, err := home(ctx, c, as)
		if err != nil {
			return nil, err
		}
		h.runs = path.Join(dir, facts.OwnDirectory)
	}
	files := c.Files(as)
	entries, err := files.List(ctx, h.runs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // before the first run
	}
	if err != nil {
		return nil, fmt.Errorf("list the copies of journals on %s: %w", h.inv.Name, err)
	}
	out := map[string]check.Plan{}
	for _, e := range entries {
		if !e.Mode.IsDir() {
			continue
		}
		f, err := files.ReadSome(ctx, path.Join(h.runs, e.Name, facts.JournalCopy), maxJournal)
		if err != nil {
			return nil, fmt.Errorf("read the copies of journals on %s: %w", h.inv.Name, err)
		}
		if !f.Exists {
			continue
		}
		recs, _, err := journal.Parse(e.Name, f.Data)
		if err != nil || recs[0].Run.ID != e.Name || recs[0].Run.Cluster != h.cluster {
			continue // none of ours
		}
		for name, p := range check.PlansOf(recs, seen.Holds(recs[0].Run.ID), members) {
			out[name] = p
		}
	}
	return out, nil
}

// home is the home directory of an OS user there. Small systems have no getent.
func home(ctx context.Context, r host.Runner, user string) (string, error) {
	b, err := host.Output(ctx, r, host.Cmd{Argv: []string{"getent", "passwd", user}})
	var exit *host.ExitError
	if errors.As(err, &exit) {
		b, err = host.Output(ctx, r, host.Cmd{Argv: []string{"awk", "-F:", "-v", "u=" + user, "$1 == u", "/etc/passwd"}})
	}
	if err != nil {
		return "", fmt.Errorf("find the home directory of %s: %w", user, err)
	}
	f := strings.Split(strings.TrimSpace(string(b)), ":")
	if len(f) != 7 || !path.IsAbs(f[5]) {
		return "", fmt.Errorf("find the home directory of %s: %q", user, b)
	}
	return f[5], nil
}

// Close ends the SQL session.
func (h *Host) Close(ctx context.Context) {
	if h.live != nil {
		_ = h.live.Close(ctx)
	}
}
