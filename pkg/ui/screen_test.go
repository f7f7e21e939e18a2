package ui

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen is a terminal of a fixed size: it wraps, scrolls, and obeys what the
// live sink sends. Anything else it is sent fails the test.
type screen struct {
	t             *testing.T
	mu            sync.Mutex
	width, height int
	rows          []string // scrollback and window; the window is the last height
	row, col      int
	hidden        bool
	writes        []time.Time
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: []string{""}}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes = append(s.writes, time.Now())
	text := string(p)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AJmhl")
			if end < 0 {
				s.t.Errorf("control sequence cut off: %q", text)
				return len(p), nil
			}
			s.control(text[2 : end+1])
			text = text[end+1:]
		case text[0] == '\n':
			s.row, s.col = s.row+1, 0
			s.grow()
			text = text[1:]
		case text[0] == '\r':
			s.col = 0
			text = text[1:]
		default:
			r := []rune(text)[0]
			s.put(r)
			text = text[len(string(r)):]
		}
	}
	if s.hidden {
		s.t.Error("a write left the cursor hidden")
	}
	if s.col != 0 {
		s.t.Errorf("a write left the cursor in column %d", s.col)
	}
	return len(p), nil
}

func (s *screen) grow() {
	for len(s.rows) <= s.row {
		s.rows = append(s.rows, "")
	}
}

func (s *screen) put(r rune) {
	if s.col+cells(r) > s.width {
		s.row, s.col = s.row+1, 0
		s.grow()
	}
	runes := []rune(s.rows[s.row])
	at := min(s.col, len(runes)) // no test writes wide runes over others
	s.rows[s.row] = string(runes[:at]) + string(r)
	if at+1 < len(runes) {
		s.rows[s.row] += string(runes[at+1:])
	}
	s.col += cells(r)
}

func (s *screen) control(c string) {
	switch {
	case c == "?25l":
		s.hidden = true
	case c == "?25h":
		s.hidden = false
	case c == "J":
		s.rows = s.rows[:s.row+1]
		s.rows[s.row] = string([]rune(s.rows[s.row])[:s.col])
	case strings.HasSuffix(c, "A"):
		var n int
		if _, err := fmt.Sscanf(c, "%dA", &n); err != nil {
			s.t.Errorf("control %q: %v", c, err)
		}
		if top := max(0, len(s.rows)-s.height); s.row-n < top {
			s.t.Errorf("moved up %d from row %d, above the window's top %d", n, s.row, top)
		}
		s.row = max(0, s.row-n)
	case strings.HasSuffix(c, "m"):
	default:
		s.t.Errorf("unexpected control sequence %q", c)
	}
}

// resize wraps what is there as terminals do: rows that are wider become two.
func (s *screen) resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []string
	for i, r := range s.rows {
		if i == s.row {
			s.row = len(rows)
		}
		runes := []rune(r)
		for len(runes) > width {
			rows = append(rows, string(runes[:width]))
			runes = runes[width:]
		}
		rows = append(rows, string(runes))
	}
	s.rows, s.width, s.height = rows, width, height
}

func (s *screen) size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width, s.height
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.rows, "\n")
}

// busiestSecond is the most writes within one second.
func (s *screen) busiestSecond() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := 0
	for i, from := range s.writes {
		n := 0
		for _, at := range s.writes[i:] {
			if at.Sub(from) < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func (s *screen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.writes)
}

func lines(s string) []string { return slices.Collect(strings.Lines(s)) }
