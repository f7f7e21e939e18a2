package engine

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

var _ effect.Env = (*run)(nil)

// frame is an open bracket.
type frame struct {
	outer  *frame
	cancel context.CancelCauseFunc
	keys   []string // of what it holds
}

// hold is a session that stays open between effects.
type hold struct {
	held  effect.Held
	ended chan struct{}
}

func (r *run) Host(ctx context.Context, name string) (host.Host, error) {
	return r.e.Cluster.Host(ctx, name)
}

func (r *run) Database(ctx context.Context, name string) (host.Database, error) {
	g, err := r.e.Cluster.Gatherer(ctx, name)
	if err != nil {
		return host.Database{}, err
	}
	db, err := g.Database(ctx)
	db.Application = r.Run().Application()
	return db, err
}

func (r *run) SQL(ctx context.Context, name string) (host.SQL, error) {
	g, err := r.e.Cluster.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := g.SQL(ctx)
	if err != nil {
		return nil, effect.NoServer(name, err)
	}
	return s, nil
}

// started is told that a host's server was started or stopped: the session on it
// is worth nothing any more.
func (r *run) started(ctx context.Context, name string) {
	if g, err := r.e.Cluster.Gatherer(ctx, name); err == nil {
		_ = g.Close(ctx)
	}
}

func (r *run) Run() effect.Run { return effect.Run{ID: r.id, Operator: r.e.Operator} }

// Hold watches h: when it is lost, what runs inside the bracket is cancelled at
// once, not an hour later when it would have been needed.
func (r *run) Hold(key string, h effect.Held) {
	x := &hold{held: h, ended: make(chan struct{})}
	r.holds[key] = x
	f := r.frame
	if f == nil {
		return
	}
	f.keys = append(f.keys, key)
	go func() {
		select {
		case <-h.Lost():
			f.cancel(fmt.Errorf("the %s session was lost", key))
		case <-x.ended:
		}
	}()
}

func (r *run) TakeHeld(key string) (effect.Held, bool) {
	x, ok := r.holds[key]
	if !ok {
		return nil, false
	}
	close(x.ended)
	delete(r.holds, key)
	return x.held, true
}

func (r *run) Progress(p event.Progress) {
	ev := event.Event{Type: event.Progressed, Progress: &p}
	if n := r.node; n != nil {
		ev.Node, ev.Host, ev.Step = n.ID, n.Host.Name, n.Kind
	}
	r.emit(ev)
}

func (r *run) Warn(name, text string) {
	r.emit(event.Event{Type: event.Warning, Host: name, Text: text})
}
