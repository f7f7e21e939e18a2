package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// effect is the one place that changes the world: intent, act, result. The result has its
// inverse also when the act has failed, for it may have happened.
func (r *run) effect(ctx context.Context, n *plan.Node, e effect.Effect) (done, error) {
	if err := r.begin(); err != nil {
		return done{}, err
	}
	keeper := r.frame.keeper(e)
	result, err := r.intend(ctx, n, e, keeper)
	if err != nil {
		return done{}, err
	}
	d := e.Describe()
	ev := event.Event{Node: n.ID, Host: e.On(), Step: n.Kind, Text: d.String(), Type: event.EffectStart}
	r.emit(ev)
	r.node, r.acting = n, result.seq
	out, err := r.act(ctx, n, e)
	keeper.keep(result)
	if err != nil {
		err = at(n, err)
		ev.Type, ev.Error = event.Failed, err.Error()
		r.emit(ev)
		none := errors.Is(err, effect.ErrUntouched)
		_, jerr := r.record(ctx, journal.Record{Type: journal.Failed, Of: result.seq, Node: n.ID, Host: e.On(), Step: n.Kind, Effect: e.Kind(), Error: err.Error(), Untouched: none})
		if none {
			keeper.drop(result.seq)
			result = done{}
		}
		return result, errors.Join(err, jerr)
	}
	if _, err := r.record(ctx, journal.Record{Type: journal.Done, Of: result.seq, Node: n.ID, Host: e.On(), Effect: e.Kind(), Output: out}); err != nil {
		return result, err
	}
	if err := r.release(ctx, n, e); err != nil {
		return result, err
	}
	r.happened(ctx, e, d, out)
	ev.Type, ev.Diff = event.EffectDone, d.Diff
	r.emit(ev)
	if !locks(e) {
		return result, nil
	}
	// What was looked at before the lock was held may have been another's work.
	if err = r.world.prefetch(ctx, r.plan.Nodes); err == nil {
		err = r.alone(ctx)
	}
	if err != nil {
		return result, at(n, err)
	}
	return result, nil
}

// intend writes down what is about to be done and how it would be taken back.
func (r *run) intend(ctx context.Context, n *plan.Node, e effect.Effect, keeper *frame) (done, error) {
	d, inv := e.Describe(), e.Inverse()
	if len(r.releases(e)) > 0 {
		inv = nil // what it takes back is owed until then, and nothing from then on
	}
	raw, err := effect.Encode(inv)
	if err != nil {
		return done{}, err
	}
	rec := journal.Record{Type: journal.Intent, Node: n.ID, Host: e.On(), Step: n.Kind, Effect: e.Kind(), Text: d.String(), Inverse: raw, NoReturn: d.NoReturn}
	if c, ok := e.(effect.Claimer); ok {
		rec.Claim = c.Claim()
	}
	if keeper != nil {
		rec.Bracket = keeper.node
	}
	seq, err := r.record(ctx, rec)
	if err != nil {
		return done{}, err
	}
	return done{seq: seq, inverse: inv, claim: rec.Claim}, nil
}

// act lets the effect happen. The error says why the run ends, where that is why it failed.
func (r *run) act(ctx context.Context, n *plan.Node, e effect.Effect) (effect.Output, error) {
	doCtx, cancel := r.interruptible(ctx, e)
	defer cancel()
	out, err := r.perform(doCtx, e)
	out = outputs(n, out)
	if err == nil {
		return out, nil
	}
	if context.Cause(doCtx) != nil && ctx.Err() == nil {
		err = ErrStopped
	}
	r.world.forget(e.On())
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && !errors.Is(cause, context.Canceled) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return out, err
}

// happened takes an effect that was done into what the run knows.
func (r *run) happened(ctx context.Context, e effect.Effect, d effect.Description, out effect.Output) {
	maps.Copy(r.outputs, out)
	r.note(e)
	r.noteStart(e)
	if d.NoReturn != "" {
		r.world.onlyForward()
	}
	if locks(e) {
		r.mirrorAhead(ctx)
		r.connectAhead(ctx)
	}
	r.world.drop(e)
	if s, ok := e.(*effect.Service); ok && s.EndsSessions() {
		r.started(context.WithoutCancel(ctx), e.On())
	}
	r.report.Done = append(r.report.Done, e.On()+": "+d.String())
}

func locks(e effect.Effect) bool {
	_, ok := e.(*effect.TakeLock)
	return ok
}

// release ends what a bracket around answers for, once an act inside of it has taken it
// back: its end would do so once more.
func (r *run) release(ctx context.Context, n *plan.Node, e effect.Effect) error {
	for _, x := range r.releases(e) {
		if _, err := r.record(ctx, journal.Record{Type: journal.Undone, Of: x.seq, Node: n.ID, Host: e.On(), Effect: e.Kind(), Text: e.Describe().String()}); err != nil {
			return err
		}
		x.by.drop(x.seq)
		delete(r.claims, x.claim)
	}
	return nil
}

// kept is an act that a bracket answers for.
type kept struct {
	done
	by *frame
}

// releases are the acts of the brackets around that e takes back.
func (r *run) releases(e effect.Effect) []kept {
	x, ok := e.(effect.Releaser)
	if !ok || x.Releases() == "" {
		return nil
	}
	var out []kept
	for f := r.frame; f != nil; f = f.outer {
		for _, d := range f.kept {
			if d.claim == x.Releases() {
				out = append(out, kept{d, f})
			}
		}
	}
	return out
}

// interruptible lets the first Ctrl-C end an effect that may last for hours and
// loses nothing by it.
func (r *run) interruptible(ctx context.Context, e effect.Effect) (context.Context, context.CancelFunc) {
	if i, ok := e.(interface{ Interruptible() bool }); !ok || !i.Interruptible() {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		select {
		case <-r.e.Stop:
			cancel(ErrStopped)
		case <-ended:
		}
	}()
	return ctx, func() { close(ended); cancel(nil) }
}

func (r *run) emit(e event.Event) {
	e.At, e.Run = r.e.Now(), r.id
	r.e.Sink.Emit(e)
}
