package engine

import (
	"context"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// over is a session that is lost already.
type over struct{ effect.Held }

func (over) Lost() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestASessionLostAfterItWasLetGoCancelsNothing(t *testing.T) {
	t.Parallel()
	for range 64 { // of two cases that are ready a select takes any
		ctx, cancel := context.WithCancelCause(t.Context())
		x := &hold{held: over{}, ended: make(chan struct{}), frame: &frame{cancel: cancel}}
		close(x.ended)
		x.watch(effect.LockHold)
		if err := context.Cause(ctx); err != nil {
			t.Fatal(err)
		}
		cancel(nil)
	}
}

func TestASessionLostWhileItIsHeldCancelsTheBracket(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	x := &hold{held: over{}, ended: make(chan struct{}), frame: &frame{cancel: cancel}}
	x.watch(effect.LockHold)
	if context.Cause(ctx) == nil {
		t.Error("the bracket goes on")
	}
}
