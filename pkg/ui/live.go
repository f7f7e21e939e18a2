package ui

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// redrawEvery bounds how often the live lines are drawn: ten times a second
// is smooth, and little for a slow link.
const redrawEvery = 100 * time.Millisecond

// Control sequences of ECMA-48 and DEC private mode 25 (cursor).
const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	eraseDown  = "\x1b[J"
)

// liveSink keeps one line for each busy host at the bottom of a terminal, and
// writes finished lines above.
//
// Every write hides the cursor first and shows it last, and leaves it at the
// start of the line below the live ones. So there is nothing to restore,
// whatever ends the process.
type liveSink struct {
	mu      sync.Mutex
	w       io.Writer
	o       SinkOptions
	board   *board
	pending strings.Builder // finished lines not yet written
	drawn   []string        // the live lines on the terminal, without colours
	last    time.Time       // of the last write
	err     error
	closed  bool
	stop    chan struct{}
	stopped chan struct{}
}

func newLiveSink(w io.Writer, o SinkOptions) *liveSink {
	s := &liveSink{w: w, o: o, board: newBoard(o), stop: make(chan struct{}), stopped: make(chan struct{})}
	go s.redraw()
	return s
}

// redraw shows what came too soon after a write, and lets clocks run.
func (s *liveSink) redraw() {
	defer close(s.stopped)
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.mu.Lock()
			s.draw(s.o.Now())
			s.mu.Unlock()
		}
	}
}

func (s *liveSink) Emit(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.o.Now()
	s.pending.WriteString(s.board.render(s.board.observe(e, now)))
	// After Close nobody redraws; a late event is not lost all the same.
	if s.closed {
		s.write(s.pending.String())
		s.pending.Reset()
		return
	}
	if now.Sub(s.last) >= redrawEvery {
		s.draw(now)
	}
}

func (s *liveSink) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		s.put(nil, nil)
	}
	s.mu.Unlock()
	<-s.stopped
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// draw brings the terminal up to date, if it is not.
func (s *liveSink) draw(now time.Time) {
	if s.closed {
		return
	}
	plain, painted := s.frame(now)
	if s.pending.Len() == 0 && slices.Equal(plain, s.drawn) {
		return
	}
	s.last = now
	s.put(plain, painted)
}

// put replaces the live lines, in one write.
func (s *liveSink) put(plain, painted []string) {
	if s.pending.Len() == 0 && len(plain) == 0 && len(s.drawn) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString(hideCursor)
	if up := s.rows(); up > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA%s", up, eraseDown)
	}
	b.WriteString(s.pending.String())
	s.pending.Reset()
	for _, l := range painted {
		b.WriteString(l + "\n")
	}
	b.WriteString(showCursor)
	s.drawn = plain
	s.write(b.String())
}

// rows is how many rows of the terminal the live lines take now. A window made
// narrower has wrapped them since they were drawn.
func (s *liveSink) rows() int {
	width, _ := s.size()
	n := 0
	for _, l := range s.drawn {
		n += max(1, (columns(l)+width-1)/width)
	}
	return n
}

func (s *liveSink) size() (width, height int) {
	width, height = s.o.Size()
	return max(width, 20), max(height, 3)
}

// frame is the live lines, without and with colours. They never wrap, and never
// fill the terminal: lines scrolled off the top could not be drawn over.
func (s *liveSink) frame(now time.Time) (plain, painted []string) {
	width, height := s.size()
	tasks := s.board.busiest()
	room, more := height-1, 0
	if len(tasks) > room {
		more = len(tasks) - (room - 1)
		tasks = tasks[:room-1]
	}
	for _, t := range tasks {
		head := clean(t.host) + "  " + clean(t.step) + "  "
		if width >= 60 {
			head = s.board.prefix(t.host, t.step)
		}
		text := fit(head+pad(elapsed(now.Sub(t.since)), markWidth)+"  "+clean(t.state(now)), width-1)
		plain = append(plain, text)
		painted = append(painted, paint(s.o.Color, Bold, text))
	}
	if more > 0 {
		text := fit("… and "+plural(more, "more host"), width-1)
		plain = append(plain, text)
		painted = append(painted, paint(s.o.Color, Dim, text))
	}
	return plain, painted
}

// elapsed is empty for a moment: most effects are over before a second is.
func elapsed(d time.Duration) string {
	if d < time.Second {
		return ""
	}
	return Span(d)
}

func (s *liveSink) write(text string) {
	if s.err == nil && text != "" {
		_, s.err = io.WriteString(s.w, text)
	}
}
