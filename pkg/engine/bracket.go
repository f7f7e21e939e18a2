package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// bracket opens, runs the body, and closes whatever happened.
func (r *run) bracket(ctx context.Context, n *plan.Node) error {
	if err := guard(ctx, n, input(r.plan, n, r.world, r.state)); err != nil {
		return r.failed(ctx, n, err)
	}
	if err := r.world.prefetch(ctx, r.plan.Nodes); err != nil {
		return r.failed(ctx, n, at(n, err))
	}
	work, err := r.world.before, error(nil)
	if !work { // else the preview has found some
		work, err = hasWork(ctx, r.plan, n.Body, r.world, r.state)
	}
	if err != nil {
		return r.failed(ctx, n, err)
	}
	if !work {
		if err := r.asSaved(n, Open, nil); err != nil {
			return r.failed(ctx, n, err)
		}
		if err := r.noop(ctx, n, nothingInside); err != nil {
			return err
		}
		return r.nodes(ctx, n.Body)
	}
	r.emit(event.Event{Type: event.NodeStart, Node: n.ID, Host: n.Host.Name, Step: n.Kind})
	if err := r.begin(); err != nil {
		return err
	}
	if _, err := r.record(ctx, journal.Record{Type: journal.Open, Node: n.ID, Host: n.Host.Name, Step: n.Kind}); err != nil {
		return err
	}
	inside, cancel := context.WithCancelCause(ctx)
	f := &frame{outer: r.frame, cancel: cancel, node: n.ID, kept: r.left[n.ID]}
	delete(r.left, n.ID)
	if k, ok := n.Bracket.(steps.Keeper); ok {
		f.keeps = k.Keeps
	}
	r.frame = f
	opened, err := r.open(inside, n)
	if err == nil {
		err = r.nodes(inside, n.Body)
	}
	if err == nil {
		err = r.finish(inside, n)
	}
	r.frame = f.outer
	lost := inside.Err() != nil
	cancel(nil)
	closing, stop := r.closing(ctx)
	defer stop()
	if err != nil {
		var stop context.CancelFunc
		closing, stop = context.WithTimeout(closing, closeTimeout)
		defer stop()
	}
	if err != nil || lost {
		err = errors.Join(err, r.stillOurs(closing))
	}
	err = errors.Join(err, r.close(closing, n, f, opened))
	if err == nil {
		r.emit(event.Event{Type: event.NodeDone, Node: n.ID, Host: n.Host.Name, Step: n.Kind})
	}
	return err
}

// closing is the context of what is owed whatever happened. Only a second Ctrl-C
// ends it: connections are dropped then, and everything remote that hangs on
// them ends by itself; the rest is for the resume.
func (r *run) closing(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(r.root, func() {
		if cause := context.Cause(r.root); fault.ClassOf(cause) == fault.Interrupted {
			cancel(cause)
		}
	})
	return ctx, func() { stop(); cancel(nil) }
}

func (r *run) open(ctx context.Context, n *plan.Node) ([]done, error) {
	p, err := n.Bracket.Open(ctx, input(r.plan, n, r.world, r.state))
	if err != nil {
		return nil, r.failed(ctx, n, at(n, err))
	}
	if err := errors.Join(r.asSaved(n, Open, p.Effects), r.asShown(n, p.Effects)); err != nil {
		return nil, r.failed(ctx, n, err)
	}
	return r.effects(ctx, n, p)
}

func (r *run) finish(ctx context.Context, n *plan.Node) error {
	p, err := n.Bracket.Close(ctx, input(r.plan, n, r.world, r.state))
	if err != nil {
		return r.failed(ctx, n, at(n, err))
	}
	if err := errors.Join(r.asSaved(n, Close, p.Effects), r.asShown(n, p.Effects)); err != nil {
		return r.failed(ctx, n, err)
	}
	_, err = r.effects(ctx, n, p)
	return err
}

// close runs the inverses of what open did, and of what the body did that the bracket
// answers for, in reverse order, and ends what is still held. One failure does not keep
// the others from being tried. Of a run that somebody else went on with nothing is taken
// back, and the bracket stays open in the journal here.
func (r *run) close(ctx context.Context, n *plan.Node, f *frame, opened []done) error {
	if r.taken {
		if err := errors.Join(r.letGo(ctx, f)...); err != nil {
			return at(n, fmt.Errorf("close the bracket: %w", err))
		}
		return nil
	}
	r.late = map[string]bool{}
	leashed, opened := split(slices.Concat(opened, f.kept))
	errs := r.underLeash(ctx, n, leashed)
	errs = append(errs, r.letGo(ctx, f)...)
	errs = append(errs, r.inverses(ctx, n, opened)...)
	if err := errors.Join(errs...); err != nil {
		r.unclosed = true
		return at(n, fmt.Errorf("close the bracket: %w", err))
	}
	_, err := r.record(ctx, journal.Record{Type: journal.Close, Node: n.ID, Host: n.Host.Name, Step: n.Kind})
	return err
}

// split parts what is taken back while the bracket still holds what it holds: a leash
// that is let go does the same, and does not look for a good moment.
func split(opened []done) (leashed, rest []done) {
	for _, d := range opened {
		if l, ok := d.inverse.(interface{ Leashed() bool }); ok && l.Leashed() {
			leashed = append(leashed, d)
			continue
		}
		rest = append(rest, d)
	}
	return leashed, rest
}

// leashedTime is enough for the inverse of one host that answers. The others wait for
// it, and one that does not answer has its leash.
const leashedTime = 15 * time.Second

func (r *run) underLeash(ctx context.Context, n *plan.Node, leashed []done) (errs []error) {
	for _, d := range slices.Backward(leashed) {
		bound, cancel := context.WithTimeout(ctx, leashedTime)
		errs = append(errs, r.undo(bound, n.ID, n.Kind, d))
		cancel()
	}
	return errs
}

// inverses runs them, the last first.
func (r *run) inverses(ctx context.Context, n *plan.Node, opened []done) (errs []error) {
	for _, d := range slices.Backward(opened) {
		if d.inverse != nil {
			errs = append(errs, r.undo(ctx, n.ID, n.Kind, d))
		}
	}
	return errs
}

// letGo ends what a bracket holds, all at once: each is a process on a host that
// takes a moment to end.
func (r *run) letGo(ctx context.Context, f *frame) []error {
	errs := make([]error, len(f.keys))
	var wg sync.WaitGroup
	for i, key := range f.keys {
		if h, ok := r.TakeHeld(key); ok {
			wg.Go(func() { errs[i] = h.Close(ctx) })
		}
	}
	wg.Wait()
	return errs
}

// takeBack does it as a node's, which its progress is told of. The inventory may not have its host
// any more.
func (r *run) takeBack(ctx context.Context, node, step string, e effect.Effect) (effect.Output, error) {
	was := r.node
	defer func() { r.node = was }()
	r.node = &plan.Node{ID: node, Kind: step, Host: &inventory.Host{Name: e.On()}}
	return e.Do(ctx, r)
}

// undo runs one recorded inverse.
func (r *run) undo(ctx context.Context, node, step string, d done) error {
	text := d.inverse.Describe().String()
	behind := ""
	if b, ok := d.inverse.(interface{ Behind() string }); ok {
		behind = b.Behind()
	}
	if behind != "" && r.late[behind] {
		return nil // it was waited for, and told of, at another balancer
	}
	if _, err := r.takeBack(ctx, node, step, d.inverse); errors.Is(err, effect.ErrNotYet) {
		r.unclosed = true // it has said so; it stays owed
		if behind != "" {
			r.late[behind] = true
		}
		return nil
	} else if err != nil {
		r.emit(event.Event{Type: event.Failed, Node: node, Host: d.inverse.On(), Step: step, Error: err.Error()})
		return fmt.Errorf("%s: %w", text, err)
	}
	r.world.drop(d.inverse)
	r.noteStart(d.inverse)
	if _, ok := d.inverse.(*effect.Service); ok {
		r.started(ctx, d.inverse.On())
	}
	if _, err := r.record(ctx, journal.Record{Type: journal.Undone, Of: d.seq, Node: node, Host: d.inverse.On(), Effect: d.inverse.Kind(), Text: text}); err != nil {
		return err
	}
	r.report.Done = append(r.report.Done, d.inverse.On()+": "+text)
	r.emit(event.Event{Type: event.EffectUndo, Node: node, Host: d.inverse.On(), Step: step, Text: text})
	return nil
}
