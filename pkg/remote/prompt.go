package remote

import (
	"bytes"
	"io"
	"sync"
)

// promptWatch passes stderr on, without sudo's prompt.
type promptWatch struct {
	asked chan struct{} // one value for each prompt
	mu    sync.Mutex
	mark  []byte
	held  []byte
	armed bool
	to    io.Writer
}

func newPromptWatch(prompt string, to io.Writer) *promptWatch {
	return &promptWatch{asked: make(chan struct{}, 4), mark: []byte(prompt), armed: true, to: to}
}

// disarm passes on what was held back, and everything from now on.
func (w *promptWatch) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.flush(len(w.held))
}

func (w *promptWatch) flush(n int) {
	if n > 0 {
		_, _ = w.to.Write(w.held[:n])
	}
	w.held = w.held[n:]
}

func (w *promptWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, p...)
	if !w.armed {
		w.flush(len(w.held))
		return len(p), nil
	}
	// sudo-rs writes "[sudo: <prompt>] Password:": the prompt is contained.
	for {
		i := bytes.Index(w.held, w.mark)
		if i < 0 {
			break
		}
		w.flush(i)
		w.held = w.held[len(w.mark):]
		select {
		case w.asked <- struct{}{}:
		default:
		}
	}
	// The end may be the beginning of a prompt.
	w.flush(len(w.held) - overlap(w.held, w.mark))
	return len(p), nil
}

// overlap is the length of the longest end of b that begins mark.
func overlap(b, mark []byte) int {
	for n := min(len(b), len(mark)-1); n > 0; n-- {
		if bytes.HasPrefix(mark, b[len(b)-n:]) {
			return n
		}
	}
	return 0
}
