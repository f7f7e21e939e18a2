package cli

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

type told chan event.Event

func (c told) Emit(e event.Event) { c <- e }

func TestTheFirstInterruptIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	stop, sink := make(chan struct{}), make(told)
	a := &app{Stdio: Stdio{Stop: stop}}
	done := a.hear(sink)
	close(stop)
	if e := <-sink; e.Type != event.Warning || e.Text != heard {
		t.Errorf("%+v", e)
	}
	done()
}

func TestARunThatIsNotInterruptedSaysNothingOfIt(t *testing.T) {
	t.Parallel()
	sink := make(told, 1)
	(&app{Stdio: Stdio{Stop: make(chan struct{})}}).hear(sink)()
	(&app{}).hear(sink)()
	if len(sink) != 0 {
		t.Errorf("%+v", <-sink)
	}
}
