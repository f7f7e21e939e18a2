package inventory

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in an inventory file. It never quotes a value that
// could be a secret.
type Problem struct {
	File    string
	Line    int // from 1; 0 when the whole file is meant
	Col     int
	Path    string // of the key: hosts.pg2.upstream
	Message string
	Hint    string // what to write instead; may be empty
}

func (p Problem) String() string {
	at := Pos{File: p.File, Line: p.Line, Col: p.Col}.String()
	msg := p.Message
	if p.Path != "" {
		msg = p.Path + ": " + msg
	}
	if p.Hint != "" {
		msg += " (" + p.Hint + ")"
	}
	return at + ": " + msg
}

// Errors is every mistake of one file, in the order of their places. Find it
// in Load's error with errors.As.
type Errors []Problem

// Error has one line a problem: file:line:col: key: message (hint).
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted orders problems by place and drops repetitions: a value given for the
// whole cluster is checked once for every host that it reaches.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	type key struct {
		line, col int
		message   string
	}
	seen := make(map[key]bool, len(e))
	return slices.DeleteFunc(e, func(p Problem) bool {
		k := key{p.Line, p.Col, p.Message}
		dup := seen[k]
		seen[k] = true
		return dup
	})
}

func (e *Errors) add(at Pos, path, hint, format string, args ...any) {
	*e = append(*e, Problem{
		File: at.File, Line: at.Line, Col: at.Col,
		Path: path, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}
