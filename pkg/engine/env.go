package engine

import (
	"context"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

var (
	_ effect.Env     = (*run)(nil)
	_ effect.Starter = (*run)(nil)
)

// frame is an open bracket.
type frame struct {
	outer  *frame
	cancel context.CancelCauseFunc
	keys   []string // of what it holds
	node   string   // the bracket's id
	// keeps says which acts inside of it are taken back at its end; kept are those, in
	// order. nil is none.
	keeps func(effect.Effect) bool
	kept  []done
}

// keeper is the bracket around, innermost first, at whose end an act is taken back.
func (f *frame) keeper(e effect.Effect) *frame {
	for ; f != nil; f = f.outer {
		if f.keeps != nil && f.keeps(e) {
			return f
		}
	}
	return nil
}

// keep remembers an act; drop forgets it, for it did not happen or was taken back.
func (f *frame) keep(d done) {
	if f != nil {
		f.kept = append(f.kept, d)
	}
}

func (f *frame) drop(seq int) {
	if f != nil {
		f.kept = slices.DeleteFunc(f.kept, func(d done) bool { return d.seq == seq })
	}
}

// hold is a session that stays open between effects.
type hold struct {
	held  effect.Held
	ended chan struct{}
	frame *frame // nil outside of brackets
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

func (r *run) Session(ctx context.Context, name, database string) (host.SQL, error) {
	g, err := r.e.Cluster.Gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := g.Session(ctx, database, r.Run().Application())
	if err != nil {
		return nil, effect.NoServer(name, err)
	}
	return s, nil
}

func (r *run) Spare(ctx context.Context, name, database string, s host.SQL) {
	g, err := r.e.Cluster.Gatherer(ctx, name)
	if err != nil {
		_ = s.Close(ctx)
		return
	}
	g.Spare(ctx, database, s)
}

// started is told that a host's server was stopped, or started anew: the sessions on it
// are worth nothing any more.
func (r *run) started(ctx context.Context, name string) {
	if g, err := r.e.Cluster.Gatherer(ctx, name); err == nil {
		_ = g.Close(ctx)
	}
}

// Started implements effect.Starter.
func (r *run) Started(name string) (*effect.Service, bool) {
	s, ok := r.starts[name]
	return s, ok
}

// noteStart remembers which servers this process has started as standbys, and not stopped
// again.
func (r *run) noteStart(e effect.Effect) {
	s, ok := e.(*effect.Service)
	switch {
	case !ok || s.Action == "await":
	case s.Action == "start" && s.Expect == effect.ExpectStandby && !s.Undo:
		r.starts[s.Host] = s
	default:
		delete(r.starts, s.Host)
	}
}

func (r *run) Run() effect.Run { return effect.Run{ID: r.id, Operator: r.e.Operator} }

// Hold watches h: when it is lost, what runs inside the bracket is cancelled at
// once, not an hour later when it would have been needed.
func (r *run) Hold(key string, h effect.Held) {
	f := r.frame
	x := &hold{held: h, ended: make(chan struct{}), frame: f}
	r.holds[key] = x
	if f == nil {
		return
	}
	f.keys = append(f.keys, key)
	go x.watch(key)
}

// watch cancels the bracket when x is lost while it is held.
func (x *hold) watch(key string) {
	select {
	case <-x.held.Lost():
		select {
		case <-x.ended: // it was let go first, and this goroutine came late
		default:
			x.frame.cancel(effect.HoldLost{Key: key})
		}
	case <-x.ended:
	}
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

// Note is durable as an intent is: what follows must not happen unknown.
func (r *run) Note(ctx context.Context, out effect.Output) error {
	rec, err := r.keep(journal.Record{Type: journal.Note, Of: r.acting, Output: out})
	if err != nil {
		return err
	}
	r.take(rec)
	return r.extend(ctx)
}

func (r *run) Known(key string) (string, bool) { return r.Output(key) }

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
