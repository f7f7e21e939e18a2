// Package event is the one upward channel: what the engine and its effects say
// while they work. Renderers in pkg/ui turn events into a live terminal, plain
// lines or JSON lines.
package event

import "time"

// Type says what happened.
type Type string

const (
	RunStart    Type = "run-start"
	RunEnd      Type = "run-end"
	NodeStart   Type = "node-start"
	NodeNoop    Type = "node-noop" // nothing to do; Text is the reason
	NodeDone    Type = "node-done"
	EffectStart Type = "effect-start"
	EffectDone  Type = "effect-done"
	EffectUndo  Type = "effect-undo"
	Progressed  Type = "progress"
	Warning     Type = "warning"
	Failed      Type = "failed"
)

// Event is one thing that happened. It holds no secret.
type Event struct {
	At       time.Time `json:"at"`
	Run      string    `json:"run,omitempty"`
	Node     string    `json:"node,omitempty"` // the plan node's id
	Host     string    `json:"host,omitempty"`
	Step     string    `json:"step,omitempty"` // the step's kind
	Type     Type      `json:"type"`
	Text     string    `json:"text,omitempty"`
	Diff     string    `json:"diff,omitempty"` // unified diff
	Progress *Progress `json:"progress,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// Progress of a copy, all its streams together. Rate and what follows from it are
// the renderer's to add, which knows time.
type Progress struct {
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total,omitempty"` // 0: not known
	// Rate is bytes a second, Percent rounded down, and Left the seconds that the
	// rest takes at this rate.
	Rate    int64 `json:"rate,omitempty"`
	Percent int64 `json:"percent,omitempty"`
	Left    int64 `json:"seconds_left,omitempty"`
	// Note says how it goes: "zstd:1, 3.1 times as fast".
	Note string `json:"note,omitempty"`
}

// Sink takes events. Emit must not block for long and is safe for concurrent
// use.
type Sink interface{ Emit(Event) }

// Discard drops all events.
type Discard struct{}

func (Discard) Emit(Event) {}
