package ddl

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// place is where a token begins.
type place struct{ line, col int }

// reading is one file on its way to a script.
type reading struct {
	file     string
	version  postgres.Version
	problems inventory.Errors
	made     made
}

func (r *reading) problem(at place, hint, format string, args ...any) {
	r.problems = append(r.problems, inventory.Problem{File: r.file, Line: at.line, Col: at.col, Message: fmt.Sprintf(format, args...), Hint: hint})
}

func (r *reading) errors() error {
	slices.SortStableFunc(r.problems, func(a, b inventory.Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return &fault.Error{Class: fault.Invalid, Err: r.problems}
}

// decode refuses what is no text. A byte order mark, which some editors write, is
// turned into blanks: the server would call it a syntax error, and places stay right.
func (r *reading) decode(text []byte) (string, bool) {
	if bom := []byte("\xef\xbb\xbf"); bytes.HasPrefix(text, bom) {
		text = append([]byte("   "), text[len(bom):]...)
	}
	for _, utf16 := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(text, []byte(utf16)) {
			r.problem(place{line: 1, col: 1}, "save it as UTF-8", "the file is UTF-16")
			return "", false
		}
	}
	for i, c := range text {
		if c == 0 {
			r.problem(placeOf(text, i), "", "a NUL byte, which no SQL text can have")
			return "", false
		}
	}
	if !utf8.Valid(text) {
		i := 0
		for i < len(text) {
			c, n := utf8.DecodeRune(text[i:])
			if c == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		r.problem(placeOf(text, i), "save it as UTF-8", "not UTF-8: byte 0x%02x", text[i])
		return "", false
	}
	return string(text), true
}

// placeOf counts lines and characters up to a byte, both from 1.
func placeOf(text []byte, at int) place {
	before := text[:at]
	start := bytes.LastIndexByte(before, '\n') + 1
	return place{line: bytes.Count(before, []byte("\n")) + 1, col: utf8.RuneCount(before[start:]) + 1}
}
