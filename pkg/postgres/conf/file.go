// Package conf reads and edits postgresql.conf, postgresql.auto.conf and
// recovery.conf without losing a byte: comments, order, spacing, line endings
// and lines that the server would refuse all survive an edit.
//
// A line is read as the server's own scanner (guc-file.l) reads it, so that Get
// answers what the server would see. Nothing here touches a file or a host.
package conf

import "bytes"

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

// File is one configuration file.
type File struct {
	lines []line
}

type lineKind int

const (
	blank lineKind = iota // empty, or only a comment
	setting
	include
	malformed // the server refuses it: on reload it ignores the whole configuration then, and does not start
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
}

// Parse reads a file. It accepts every input, and keeps lines that the server would
// refuse.
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
	l, refused := line{raw: raw}, line{raw: raw, kind: malformed}
	text := bytes.TrimSuffix(raw, []byte("\n"))

	t := scan(text, 0)
	if t.class == end {
		return l
	}
	if t.class != ident && t.class != qualified {
		return refused
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
		return refused
	}
	l.valStart, l.valEnd = t.start, t.end

	if t = scan(text, t.end); t.class != end {
		return refused
	}
	l.kind = setting
	switch IncludeKind(foldName(l.name)) {
	case IncludeFile, IncludeIfExists, IncludeDir:
		l.kind = include
	}
	return l
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
