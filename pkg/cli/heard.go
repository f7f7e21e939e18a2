package cli

import (
	"context"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// heard is what is said at the first Ctrl-C while a run acts.
const heard = "interrupted: a copy or a wait ends now, any other act is finished, and what is held open is closed; interrupted once more, all connections are dropped at once"

// hear says at the first Ctrl-C that it was heard, until done. To close what is open may
// take a while, and who sees nothing interrupts once more.
func (a *app) hear(sink event.Sink) (done func()) {
	ended := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		select {
		case <-a.Stop:
			sink.Emit(event.Event{At: time.Now(), Type: event.Warning, Text: heard})
		case <-ended:
		}
	})
	return func() { close(ended); listening.Wait() }
}

// owed is a context of what is done though the command's may have ended: a run that failed is
// taken back. Only a second Ctrl-C ends it, as it says.
func owed(ctx context.Context) (context.Context, context.CancelFunc) {
	back, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); fault.ClassOf(cause) == fault.Interrupted {
			cancel(cause)
		}
	})
	return back, func() { stop(); cancel(nil) }
}
