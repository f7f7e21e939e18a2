// Package conf reads and edits postgresql.conf, postgresql.auto.conf and
// recovery.conf without losing a byte: comments, order, spacing, line endings
// and lines that the server would refuse all survive an edit.
//
// A line is read as the server's own scanner (guc-file.l) reads it, so that Get
// answers what the server would see. Nothing here touches a file or a host.
package conf

import (
	"bytes"
	"fmt"
)

// Setting is one line that gives a parameter a value.
type Setting struct {
	Name  string // as spelled in the file; names are case-insensitive
	Value string // without quotes and escapes
	Line  int    // counted from 1
}

// IncludeKind is the directive that pulls in other files.
type IncludeKind string

const (
	IncludeFile     IncludeKind = "include"           // the file must exist
	IncludeIfExists IncludeKind = "include_if_exists" // a missing file is skipped
	IncludeDir      IncludeKind = "include_dir"       // every *.conf in a directory
)

// Include is one directive. Path is as written: relative to the directory of
// the file that holds it.
type Include struct {
	Kind IncludeKind
	Path string
	Line int
}

// LineError is a line that the server refuses as a syntax error. One such line
// makes it ignore the whole configuration on reload, and refuse to start.
type LineError struct {
	Line   int
	Text   string // the line without its line ending
	Reason string
}

func (e LineError) Error() string {
	return fmt.Sprintf("line %d: %s: %q", e.Line, e.Reason, e.Text)
}

// File is one configuration file.
type File struct {
	lines []line
}

type lineKind int

const (
	blank lineKind = iota // empty, or only a comment
	setting
	include
	malformed
)

// line is one line of the file. Its text is kept as it was read.
type line struct {
	raw      []byte // with its line ending
	kind     lineKind
	name     string
	value    string
	nameEnd  int // offsets in raw
	valStart int
	valEnd   int
	reason   string // of a malformed line
}

// Parse reads a file. It accepts every input; what the server would refuse is
// reported by Errors.
func Parse(b []byte) *File {
	f := &File{}
	for _, raw := range bytes.SplitAfter(b, []byte("\n")) {
		if len(raw) > 0 {
			f.lines = append(f.lines, parseLine(bytes.Clone(raw)))
		}
	}
	return f
}

// parseLine follows the loop of ParseConfigFp: name, an optional equals sign,
// value, end of line.
func parseLine(raw []byte) line {
	l := line{raw: raw}
	text := bytes.TrimSuffix(raw, []byte("\n"))

	t := scan(text, 0)
	if t.class == end {
		return l
	}
	if t.class != ident && t.class != qualified {
		return l.refuse(text, t)
	}
	l.name, l.nameEnd = string(text[t.start:t.end]), t.end

	if t = scan(text, t.end); t.class == equals {
		t = scan(text, t.end)
	}
	switch t.class {
	case str:
		l.value = unescape(text[t.start:t.end])
	case ident, integer, real, unquoted:
		l.value = string(text[t.start:t.end])
	default:
		return l.refuse(text, t)
	}
	l.valStart, l.valEnd = t.start, t.end

	if t = scan(text, t.end); t.class != end {
		return l.refuse(text, t)
	}
	l.kind = setting
	switch IncludeKind(foldName(l.name)) {
	case IncludeFile, IncludeIfExists, IncludeDir:
		l.kind = include
	}
	return l
}

func (l line) refuse(text []byte, t token) line {
	reason := "syntax error near end of line"
	if t.class != end {
		reason = fmt.Sprintf("syntax error near token %q", text[t.start:t.end])
	}
	return line{raw: l.raw, kind: malformed, reason: reason}
}

// Bytes returns the file. Without an edit it is what Parse was given.
func (f *File) Bytes() []byte {
	var b []byte
	for _, l := range f.lines {
		b = append(b, l.raw...)
	}
	return b
}

// Get returns the setting that counts in this file: the last one. Values from
// included files are not seen; see Tree.
func (f *File) Get(name string) (Setting, bool) {
	i := f.last(name)
	if i < 0 {
		return Setting{}, false
	}
	return f.setting(i), true
}

// All returns every setting in file order, those that a later line overrides
// included.
func (f *File) All() []Setting {
	var all []Setting
	for i, l := range f.lines {
		if l.kind == setting {
			all = append(all, f.setting(i))
		}
	}
	return all
}

// Includes returns the include directives in file order.
func (f *File) Includes() []Include {
	var all []Include
	for i, l := range f.lines {
		if l.kind == include {
			all = append(all, Include{IncludeKind(foldName(l.name)), l.value, i + 1})
		}
	}
	return all
}

// Errors returns the lines that the server would refuse.
func (f *File) Errors() []LineError {
	var all []LineError
	for i, l := range f.lines {
		if l.kind == malformed {
			text := string(bytes.TrimRight(l.raw, "\r\n"))
			all = append(all, LineError{i + 1, text, l.reason})
		}
	}
	return all
}

func (f *File) setting(i int) Setting {
	return Setting{f.lines[i].name, f.lines[i].value, i + 1}
}

// last returns the index of the last line that sets name, or -1.
func (f *File) last(name string) int {
	name = foldName(name)
	for i := len(f.lines) - 1; i >= 0; i-- {
		if f.lines[i].kind == setting && foldName(f.lines[i].name) == name {
			return i
		}
	}
	return -1
}

// foldName lower-cases ASCII letters only, like guc_name_compare; strings.ToLower
// would also fold the Kelvin sign to k.
func foldName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
