// Package steps holds the step kinds: pure functions from facts to effects. It
// cannot reach a host: nothing it imports can (a test walks the import graph),
// so planning is safe by construction and a dry run is simply not applying.
//
// One file, one kind. Kinds is the one list of them.
package steps

import (
	"context"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Step plans one node of a plan file.
type Step interface {
	// Plan says what has to be done, from the facts alone. It is called for
	// a preview, and again from fresh facts just before the effects are
	// done. No effects: Noop says why.
	Plan(ctx context.Context, in In) (Planned, error)
}

// Bracket is a step with an inside. It is opened only if something in its body
// has to be done. When the body ends, whatever the outcome, the inverses of
// what Open did are run in reverse order and sessions it holds are closed; when
// the body succeeded, the effects of Close are done before that.
type Bracket interface {
	Open(ctx context.Context, in In) (Planned, error)
	Close(ctx context.Context, in In) (Planned, error)
}

// Keeper is a bracket that answers for acts of its body, too: at its end they are taken
// back, unless the body has done that.
type Keeper interface {
	Keeps(e effect.Effect) bool
}

// Guard is a bracket that may forbid to plan its body at all.
type Guard interface {
	Guard(ctx context.Context, in In) error
}

// Planned is a step's answer.
type Planned struct {
	Effects []effect.Effect
	Settles []Settle
	// Noop is the reason why there is nothing to do.
	Noop string
	// Held is what is not as the inventory says, and is left so.
	Held []Held
}

// Held is a difference that a run does not mend.
type Held struct {
	What string `json:"what"`
	// Hint is how it could be.
	Hint string `json:"hint,omitempty"`
	// Note: the inventory does not say how it should be, so that nothing is pending.
	Note bool `json:"note,omitempty"`
}

// Fresh is a step that is planned from what is read just before it of these hosts: what was read
// a while ago could cost data.
type Fresh interface {
	Fresh(*inventory.Cluster) []string
}

// Settle is a reload or restart that a changed file asks for. Settles are
// collected and done once, by a server step, and again at the end of an undo.
type Settle struct {
	Host    string
	Restart bool
	Why     string // "wal_level", "pg_hba.conf"
}

// In is what a step may look at.
type In struct {
	Cluster *inventory.Cluster
	// Self is the host that `at:` names.
	Self *inventory.Host
	// Standby is the host that the plan is about, nil where there is none.
	Standby *inventory.Host
	// Without are hosts that nobody looks at: they cannot be reached, say.
	Without []string
	Facts   Facts
	Run     Run
}

// Facts gives the facts of any host of the inventory.
type Facts interface {
	Of(ctx context.Context, name string) (*facts.Host, error)
}

// Run is what a step may know of the run that it is part of.
type Run interface {
	// ID is the run's id.
	ID() string
	Operator() string
	// Ended reports whether this machine knows of another run that it is over.
	Ended(id string) bool
	// Output is what an earlier effect of this run found out.
	Output(key string) (string, bool)
	// Claimed reports whether this run made, or may have made, something.
	Claimed(claim string) bool
	// Changed reports whether this run has already changed the host.
	Changed(name string) bool
	// Owed are the settles of a host that no server step has done yet.
	Owed(name string) []Settle
	// Password is the replication password; zero if the inventory has none.
	Password(ctx context.Context) (secret.Value, error)
	// CopyKey is the n-th key made for this run alone.
	CopyKey(n int) (Key, error)
	// Accepted are the checks that the user chose to skip by name.
	Accepted() []string
}

// Key is an SSH key pair.
type Key struct {
	Public  string       // "ssh-ed25519 AAAA…"
	Private secret.Value // OpenSSH PEM
}

// self is the facts of the step's own host.
func (in In) self(ctx context.Context) (*facts.Host, error) {
	return in.Facts.Of(ctx, in.Self.Name)
}

// upstream is the inventory's upstream of the standby, and its facts.
func (in In) upstream(ctx context.Context) (*inventory.Host, *facts.Host, error) {
	sb := in.Standby
	if sb == nil {
		sb = in.Self
	}
	up := in.Cluster.Upstream(sb)
	if up == nil {
		return nil, nil, fmt.Errorf("%s has no upstream: it is the primary", sb.Name)
	}
	f, err := in.Facts.Of(ctx, up.Name)
	if err != nil {
		return nil, nil, err
	}
	return up, f, nil
}

// image is where the bytes before an edit are kept on the host.
func (in In) image(home, file string) string {
	return path.Join(home, facts.OwnDirectory, in.Run.ID(), file)
}

func noop(format string, a ...any) Planned { return Planned{Noop: fmt.Sprintf(format, a...)} }

// applicationName is the application_name of a standby: its inventory name, which
// is also how its upstream's pg_stat_replication shows it.
func applicationName(h *inventory.Host) string { return h.Name }

// onlyUpstream refuses any other source than the standby's upstream: the slot
// that keeps the WAL, and the rule in pg_hba.conf, are there.
func onlyUpstream(key, value string) error {
	if value != "" && value != "upstream" {
		return fmt.Errorf("%s %q: only upstream is supported", key, value)
	}
	return nil
}
