package cli

import (
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
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
