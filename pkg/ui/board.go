package ui

import (
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// plainEvery is how often a copy is reported in plain lines.
const plainEvery = 10 * time.Second

// told is the shortest duration worth telling.
const told = time.Second

// board is what goes on now: it turns events into finished lines and knows the
// tasks that are not finished.
type board struct {
	o         SinkOptions
	tasks     []*task // in the order in which they began
	runs      map[string]time.Time
	hostWidth int
	stepWidth int
}

// task is one node at work on one host.
type task struct {
	node, host, step string
	text             string    // the effect at work or, after it, empty
	since            time.Time // start of the effect or, between effects, of the node
	busy             bool      // an effect is at work
	acted            bool      // at least one effect is done: the node is an open bracket
	failed           bool      // it is not at work, but a bracket is still to be closed
	progress         *event.Progress
	rate             rate
	shown            time.Time // last progress line
}

// line is one finished thing.
type line struct {
	host, step, mark, text string
	style                  Style
	diff                   string
}

func newBoard(o SinkOptions) *board {
	b := &board{o: o, runs: make(map[string]time.Time), hostWidth: 8, stepWidth: 15}
	for _, h := range o.Hosts {
		b.hostWidth = max(b.hostWidth, columns(clean(h)))
	}
	return b
}

// observe takes note of an event and returns the lines that it finishes.
func (b *board) observe(e event.Event, now time.Time) []line {
	if !e.At.IsZero() {
		now = e.At
	}
	l := line{host: e.Host, step: b.stepOf(e), text: e.Text}
	switch e.Type {
	case event.RunStart:
		b.runs[e.Run] = now
		l = line{text: strings.TrimSpace("run " + e.Run + "  " + e.Text)}
	case event.RunEnd:
		l = line{text: b.runEnd(e, now)}
	case event.NodeStart:
		b.take(e, now)
		if b.o.Verbose < 2 {
			return nil
		}
		l.mark, l.style = "begin", Dim
	case event.NodeDone:
		b.drop(e)
		if b.o.Verbose < 2 {
			return nil
		}
		l.mark, l.style = "end", Dim
	case event.NodeNoop:
		b.drop(e)
		l.mark, l.style = "ok", Good
	case event.EffectStart:
		t := b.take(e, now)
		t.text, t.since, t.shown, t.busy, t.failed = e.Text, now, now, true, false
		return nil
	case event.EffectDone:
		l.mark, l.style, l.text, l.diff = "change", Warn, b.effectDone(e, now), e.Diff
	case event.EffectUndo:
		l.mark, l.style, l.diff = "undo", Warn, e.Diff
		if b.open(e) {
			l.mark = "close"
		}
	case event.Progressed:
		if e.Progress != nil {
			t := b.take(e, now)
			t.busy, t.progress = true, e.Progress
			t.rate.add(now, e.Progress.Bytes)
		}
		return nil
	case event.Warning:
		l.mark, l.style, l.text = "warning", Warn, both(e.Text, e.Error)
	case event.Failed:
		if i := b.index(e); i >= 0 {
			b.tasks[i].busy, b.tasks[i].failed, b.tasks[i].progress = false, true, nil
		}
		l.mark, l.style, l.text = "FAILED", Bad, both(e.Text, e.Error)
	default:
		return nil
	}
	return []line{l}
}

// both joins what was done and how it went wrong, once.
func both(text, problem string) string {
	switch {
	case problem == "" || strings.Contains(text, problem):
		return text
	case text == "" || strings.Contains(problem, text):
		return problem
	default:
		return text + ": " + problem
	}
}

func (b *board) runEnd(e event.Event, now time.Time) string {
	s := "run " + e.Run + "  "
	if text := both(e.Text, e.Error); text != "" {
		s += text
	} else {
		s += "ended"
	}
	if began, ok := b.runs[e.Run]; ok && now.Sub(began) > told {
		s += "  (" + Span(now.Sub(began)) + ")"
	}
	delete(b.runs, e.Run)
	b.tasks = nil // a run that failed leaves nodes that did not end
	return s
}

// effectDone ends the effect at work and says what it did, and how long it
// took if that is worth telling.
func (b *board) effectDone(e event.Event, now time.Time) string {
	t := b.take(e, now)
	text := e.Text
	if text == "" {
		text = t.text
	}
	if took := now.Sub(t.since); t.busy && took > told {
		text += "  (" + Span(took)
		if p := t.progress; p != nil && p.Bytes > 0 {
			text += ", " + Bytes(p.Bytes) + ", " + Bytes(int64(float64(p.Bytes)/took.Seconds())) + "/s"
		}
		text += ")"
	}
	t.text, t.since, t.busy, t.acted = "", now, false, true
	t.progress, t.rate = nil, rate{}
	return text
}

// take returns the event's task, a new one if there is none.
func (b *board) take(e event.Event, now time.Time) *task {
	if i := b.index(e); i >= 0 {
		return b.tasks[i]
	}
	t := &task{node: e.Node, host: e.Host, step: e.Step, since: now, shown: now}
	b.tasks = append(b.tasks, t)
	return t
}

// drop ends a node, on all hosts that it acted on.
func (b *board) drop(e event.Event) {
	b.tasks = slices.DeleteFunc(b.tasks, func(t *task) bool { return t.node == e.Node })
}

// open reports whether the node is a bracket that has not ended: what is undone
// there is its close, and nobody's undo.
func (b *board) open(e event.Event) bool {
	return slices.ContainsFunc(b.tasks, func(t *task) bool { return t.node == e.Node && t.acted })
}

// stepOf is the event's step or, when it names only a host, as a warning may,
// the one at work there.
func (b *board) stepOf(e event.Event) string {
	if e.Step == "" && e.Node == "" {
		for _, t := range b.busiest() {
			if t.host == e.Host {
				return t.step
			}
		}
	}
	return e.Step
}

func (b *board) index(e event.Event) int {
	i := slices.IndexFunc(b.tasks, func(t *task) bool { return t.node == e.Node && t.host == e.Host })
	if i < 0 && e.Type == event.Progressed {
		// Progress may be reported for the node's host by an effect that
		// acts on another.
		i = slices.IndexFunc(b.tasks, func(t *task) bool { return t.node == e.Node && t.busy })
	}
	return i
}

// duePlain returns the line of a copy whose last one is long enough ago.
func (b *board) duePlain(e event.Event, now time.Time) []line {
	if !e.At.IsZero() {
		now = e.At
	}
	i := b.index(e)
	if i < 0 || b.tasks[i].progress == nil || now.Sub(b.tasks[i].shown) < plainEvery {
		return nil
	}
	t := b.tasks[i]
	t.shown = now
	return []line{{host: t.host, step: t.step, mark: "progress", text: t.rate.describe(*t.progress, now)}}
}

// busiest is one task a host, in the order in which the hosts began: the last
// begun of those at work, else the last begun.
func (b *board) busiest() []*task {
	var tasks []*task
	for _, t := range b.tasks {
		if t.host == "" || t.failed {
			continue
		}
		i := slices.IndexFunc(tasks, func(other *task) bool { return other.host == t.host })
		switch {
		case i < 0:
			tasks = append(tasks, t)
		case t.busy || !tasks[i].busy:
			tasks[i] = t
		}
	}
	return tasks
}

// state is the text of a task in a live line.
func (t *task) state(now time.Time) string {
	switch {
	case t.progress != nil:
		return t.rate.describe(*t.progress, now)
	case t.busy:
		return t.text
	case t.acted:
		return "open"
	default:
		return "reading facts"
	}
}
