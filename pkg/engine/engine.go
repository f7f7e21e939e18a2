// Package engine turns a plan into effects and is the only caller of an
// effect. It owns brackets, the journal and the order of things: Preview,
// Apply, Resume, Undo.
package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// Gatherer reads the facts of one host.
type Gatherer interface {
	Gather(ctx context.Context) (*facts.Host, error)
	// Database says how to reach the host's server.
	Database(ctx context.Context) (host.Database, error)
	// SQL is the one ordinary session on the host's server, opened again when
	// it was lost. Close ends it.
	SQL(ctx context.Context) (host.SQL, error)
	// Session is one of its own in a database of the server, for the caller to close or
	// to give to Spare, which keeps it for the next who asks.
	Session(ctx context.Context, database, application string) (host.SQL, error)
	Spare(ctx context.Context, database string, s host.SQL)
	Close(ctx context.Context) error
}

// Cluster is the engine's way to the hosts; it dials each of them once.
type Cluster interface {
	Host(ctx context.Context, name string) (host.Host, error)
	Gatherer(ctx context.Context, name string) (Gatherer, error)
}

// Engine runs plans.
type Engine struct {
	Inventory *inventory.Cluster
	Cluster   Cluster
	// Dir holds the journals of this cluster's runs.
	Dir      string
	Sink     event.Sink
	Now      func() time.Time
	Operator string // user@host
	Version  string // of pgrepctl
	// NewID makes a run's id.
	NewID func() string
	// NewKey makes an SSH key pair for the copy.
	NewKey func() (steps.Key, error)
	// Password is the replication password, zero if there is none.
	Password func(ctx context.Context) (secret.Value, error)
	// Accept names checks that the user chose to skip.
	Accept []string
	// Alone: a run is gone on with, or taken back, though the primary has no copy
	// of its journal any more.
	Alone bool
	// Expect, if set, is what a saved plan shows: a node that would do anything else
	// ends the run.
	Expect []Line
	// Stop, once closed, ends the run after the current effect, with all
	// brackets closed. A second wish to stop cancels the context.
	Stop <-chan struct{}
}

// ErrStopped is the cause of a run that the operator stopped.
var ErrStopped = errors.New("stopped by the operator")

// closeTimeout bounds what is done to close brackets after a failure, when the
// hosts may be unreachable.
const closeTimeout = 60 * time.Second
