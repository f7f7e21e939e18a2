package ui

import (
	"io"
	"strings"
	"time"
)

// Control sequences of xterm (mode 1049: alternate screen) and ECMA-48.
const (
	enterScreen = "\x1b[?1049h"
	leaveScreen = "\x1b[?1049l"
	home        = "\x1b[H"
	eraseRight  = "\x1b[K"
)

// WatchOptions says how a watched result is shown.
type WatchOptions struct {
	// Screen draws over the last result, on the terminal's alternate screen,
	// so that the scrollback stays as it was. Otherwise results follow each
	// other, each below its time.
	Screen bool
	Size   func() (width, height int) // nil is SizeOf the writer
	Now    func() time.Time           // nil is time.Now
}

// Watch shows a result again and again. Not safe for concurrent use.
type Watch struct {
	w       io.Writer
	o       WatchOptions
	entered bool
}

// NewWatch returns a Watch that writes to w. Defer its Close: until then the
// terminal may be on its alternate screen.
func NewWatch(w io.Writer, o WatchOptions) *Watch {
	if o.Size == nil {
		o.Size = SizeOf(w)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Watch{w: w, o: o}
}

// Show writes result, the text of whole lines. On a screen what does not fit
// below is cut; cutting to its width is Table's.
func (v *Watch) Show(result string) error {
	at := v.o.Now().Format(time.RFC3339)
	if !v.o.Screen {
		_, err := io.WriteString(v.w, at+"\n"+result+"\n")
		return err
	}
	var b strings.Builder
	if !v.entered {
		b.WriteString(enterScreen)
	}
	v.entered = true
	b.WriteString(hideCursor + home)
	rows := append([]string{at}, strings.Split(strings.TrimRight(result, "\n"), "\n")...)
	if _, height := v.o.Size(); len(rows) > height {
		rows = rows[:height]
	}
	// Drawn over, row by row, and not erased first: that would flicker. The
	// last row ends without a newline, which would scroll.
	b.WriteString(strings.Join(rows, eraseRight+"\r\n") + eraseRight + eraseDown + showCursor)
	_, err := io.WriteString(v.w, b.String())
	return err
}

// Close goes back to where the terminal was. It may be called more than once.
func (v *Watch) Close() error {
	if !v.entered {
		return nil
	}
	v.entered = false
	_, err := io.WriteString(v.w, leaveScreen)
	return err
}
