package ui

import (
	"encoding/json"
	"io"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// Sink shows events. It is safe for concurrent use. Close takes away what is
// only there while something runs, and returns the first error of writing; it
// may be called more than once, and is meant to be deferred, so that a panic
// finds the terminal in order.
type Sink interface {
	event.Sink
	Close() error
}

// SinkOptions says how events are shown.
type SinkOptions struct {
	Mode    Mode
	Color   bool
	Quiet   bool // warnings and failures only, and no live lines
	Verbose int  // 1: diffs; 2: also where nodes begin and end
	// Hosts are the names that may occur. They make the first column wide
	// enough from the start; others are shown too.
	Hosts []string
	// Size is asked before each redraw of a live terminal; nil is SizeOf the
	// writer.
	Size func() (width, height int)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// NewSink returns a Sink that writes to w.
func NewSink(w io.Writer, o SinkOptions) Sink {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Size == nil {
		o.Size = SizeOf(w)
	}
	switch {
	case o.Mode == ModeJSON:
		return &jsonSink{w: w, o: o}
	case o.Mode == ModeLive && !o.Quiet:
		return newLiveSink(w, o)
	default:
		return &plainSink{w: w, o: o, board: newBoard(o)}
	}
}

// wanted reports whether an event is shown at all.
func (o SinkOptions) wanted(e event.Event) bool {
	return !o.Quiet || e.Type == event.Warning || e.Type == event.Failed
}

// Tee gives each event to several sinks, in order.
type Tee []event.Sink

func (t Tee) Emit(e event.Event) {
	for _, s := range t {
		s.Emit(e)
	}
}

// plainSink writes one line an event, for logs and for people who read along.
type plainSink struct {
	mu    sync.Mutex
	w     io.Writer
	o     SinkOptions
	board *board
	err   error
}

func (s *plainSink) Emit(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What is not shown is tracked all the same: durations need it.
	now := s.o.Now()
	lines := s.board.observe(e, now)
	if e.Type == event.Progressed {
		lines = s.board.duePlain(e, now)
	}
	if s.o.wanted(e) && s.err == nil && len(lines) > 0 {
		_, s.err = io.WriteString(s.w, s.board.render(lines))
	}
}

func (s *plainSink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// measured is the progress with what its rate tells, which the event has not.
func (s *jsonSink) measured(e event.Event) *event.Progress {
	key := e.Node + " " + e.Host
	if s.rates == nil {
		s.rates = map[string]*rate{}
	}
	if s.rates[key] == nil {
		s.rates[key] = &rate{}
	}
	s.rates[key].add(e.At, e.Progress.Bytes)
	p := s.rates[key].measured(*e.Progress, e.At)
	return &p
}

// jsonSink writes events as they are, one JSON object a line.
type jsonSink struct {
	mu    sync.Mutex
	w     io.Writer
	o     SinkOptions
	rates map[string]*rate // by node and host
	err   error
}

func (s *jsonSink) Emit(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.wanted(e) || s.err != nil {
		return
	}
	if e.At.IsZero() {
		e.At = s.o.Now()
	}
	if e.Progress != nil {
		e.Progress = s.measured(e)
	}
	// The encoder writes an object and its newline in one call: a reader
	// never sees half a line, and two processes may append to one file.
	enc := json.NewEncoder(s.w)
	enc.SetEscapeHTML(false)
	s.err = enc.Encode(e)
}

func (s *jsonSink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
