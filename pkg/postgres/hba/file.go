// Package hba reads and edits pg_hba.conf without losing a byte, and answers
// what an edit must know: which record decides about a connection.
//
// The server takes the first record that matches, so a record is only worth
// something where no earlier one decides otherwise. A new record that is merely
// appended can be shadowed: the reload succeeds and the connection is refused.
// Ensure therefore chooses the place. Nothing here touches a file or a host.
package hba

import (
	"bytes"
	"fmt"
	"iter"
)

// LineError is a line that the server refuses. One such line makes it keep the
// old records on reload, and refuse to start.
type LineError struct {
	Line   int
	Text   string // continued lines joined
	Reason string
}

func (e LineError) Error() string {
	return fmt.Sprintf("line %d: %s: %q", e.Line, e.Reason, e.Text)
}

// Include is a directive that pulls in other files (16 and later). Kind is
// include, include_if_exists or include_dir; Path is as written.
type Include struct {
	Kind string
	Path string
	Line int
}

// File is one pg_hba.conf.
type File struct {
	entries []entry
}

type entryKind int

const (
	blank entryKind = iota // empty, or only a comment
	record
	include
	malformed
)

// entry is one logical line: a physical one and those that continue it.
type entry struct {
	raw    []byte // as read, with line endings and continuations
	kind   entryKind
	text   string // joined, without line ending
	rule   Rule   // of a record; for an include or a malformed line its first word
	path   string // of an include
	reason string // of a malformed line
	open   bool   // the file ended while the line was still to be continued
}

// Parse reads a file. It accepts every input; what the server would refuse is
// reported by Errors. A backslash at the end of a line continues it, as from 14
// on; before, such a line is an error or a comment.
func Parse(b []byte) *File {
	f := &File{}
	var raw []byte
	var text []byte
	joined := 0 // length of text at the last continuation
	for _, physical := range bytes.SplitAfter(b, []byte("\n")) {
		if len(physical) == 0 {
			continue
		}
		raw = append(raw, physical...)
		// The server reads C strings: a NUL hides the rest of its line, line
		// ending included, so that the next one is joined.
		if i := bytes.IndexByte(physical, 0); i >= 0 {
			text = append(text, physical[:i]...)
			continue
		}
		var continued bool
		if text, continued = endLine(append(text, physical...), joined); continued {
			joined = len(text)
			continue
		}
		f.entries = append(f.entries, parseEntry(raw, string(text)))
		raw, text, joined = nil, nil, 0
	}
	if raw != nil {
		if len(text) > joined { // the end of the file ends what a NUL left open
			text, _ = endLine(text, joined)
		}
		e := parseEntry(raw, string(text))
		e.open = true
		f.entries = append(f.entries, e)
	}
	return f
}

// endLine cuts off the line ending, and the backslash that continues the line.
// Only one behind the last continuation does so: else two of them before two
// newlines would join twice.
func endLine(text []byte, joined int) (rest []byte, continued bool) {
	text = bytes.TrimRight(text, "\r\n")
	if len(text) > joined && text[len(text)-1] == '\\' {
		return text[:len(text)-1], true
	}
	return text, false
}

func parseEntry(raw []byte, text string) entry {
	e := entry{raw: raw, text: text}
	columns := fields(text)
	if len(columns) == 0 {
		return e
	}
	if len(columns) == 2 {
		switch word := columns[0][0].Value; word {
		case "include", "include_if_exists", "include_dir":
			e.kind = include
			e.rule.Type = word
			e.path = columns[1][0].Value
			return e
		}
	}
	rule, err := parseRule(columns)
	if err != nil {
		e.kind = malformed
		e.rule.Type = columns[0][0].Value
		e.reason = err.Error()
		return e
	}
	e.kind = record
	e.rule = rule
	return e
}

// Bytes returns the file. Without an edit it is what Parse was given.
func (f *File) Bytes() []byte {
	var b []byte
	for _, e := range f.entries {
		b = append(b, e.raw...)
	}
	return b
}

// Rules returns the records in file order. Those of included files are not
// among them.
func (f *File) Rules() []Rule {
	var all []Rule
	for line, e := range f.numbered() {
		if e.kind == record {
			r := e.rule
			r.Line = line
			all = append(all, r)
		}
	}
	return all
}

// Includes returns the include directives in file order. Before 16 the server
// refuses such a line.
func (f *File) Includes() []Include {
	var all []Include
	for line, e := range f.numbered() {
		if e.kind == include {
			all = append(all, Include{e.rule.Type, e.path, line})
		}
	}
	return all
}

// Errors returns the lines that the server would refuse, as far as this can be
// told without it: names and values of options are left to the server.
func (f *File) Errors() []LineError {
	var all []LineError
	for line, e := range f.numbered() {
		if e.kind == malformed {
			all = append(all, LineError{line, e.text, e.reason})
		}
	}
	return all
}

// numbered gives each entry with the number of its first physical line.
func (f *File) numbered() iter.Seq2[int, *entry] {
	return func(yield func(int, *entry) bool) {
		line := 1
		for i := range f.entries {
			if !yield(line, &f.entries[i]) {
				return
			}
			line += bytes.Count(f.entries[i].raw, []byte("\n"))
		}
	}
}

// line is the number of the first physical line of entry i.
func (f *File) line(i int) int {
	n := 1
	for _, e := range f.entries[:i] {
		n += bytes.Count(e.raw, []byte("\n"))
	}
	return n
}
