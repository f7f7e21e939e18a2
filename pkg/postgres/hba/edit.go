package hba

import (
	"bytes"
	"fmt"
	"slices"
)

// Ensure makes the file answer every connection that r is about by r's method
// and options, and returns the line of the record that does so.
//
// Nothing changes when a record, r itself or a wider one of the same method,
// decides already and no earlier one may decide otherwise. Else r is inserted as
// one line before the first record that may, or at the end when there is none.
// What cannot be told from the file alone, such as a host name, a +group, a
// regular expression or an included file, counts as a record that may decide
// otherwise. comment, if any, goes behind r on the same line.
func (f *File) Ensure(r Rule, comment string) (at int, changed bool, err error) {
	text, err := format(r, comment)
	if err != nil {
		return 0, false, fmt.Errorf("add pg_hba record: %w", err)
	}
	i, decided := f.decide(r)
	if !decided {
		f.insert(i, text)
	}
	return f.line(i), !decided, nil
}

// Shadow returns the first record that may answer a connection of r in another
// way than r would, before a record that answers all of them r's way. For an
// include directive or a line that the server refuses, only Line and Type (its
// first word) are set.
func (f *File) Shadow(r Rule) (Rule, bool) {
	i, decided := f.decide(r)
	if decided || i == len(f.entries) {
		return Rule{}, false
	}
	shadow := f.entries[i].rule
	shadow.Line = f.line(i)
	return shadow, true
}

// decide returns the entry that answers all of r's connections r's way, or the
// one before which r would have to stand for that.
func (f *File) decide(r Rule) (i int, decided bool) {
	for i, e := range f.entries {
		switch e.kind {
		case include, malformed:
			return i, false
		case record:
			switch relate(e.rule, r) {
			case full:
				return i, sameMethod(e.rule, r)
			case some:
				// The same answer to a part of them does no harm.
				if !sameMethod(e.rule, r) {
					return i, false
				}
			}
		}
	}
	return len(f.entries), false
}

// Remove takes out the first record that is exactly r, with all of its line or
// lines, and reports whether there was one.
func (f *File) Remove(r Rule) bool {
	for i, e := range f.entries {
		if e.kind == record && sameRule(e.rule, r) {
			f.entries = slices.Delete(f.entries, i, i+1)
			return true
		}
	}
	return false
}

// insert puts a line before entry i, in the file's own line ending.
func (f *File) insert(i int, text string) {
	ending := f.lineEnding()
	if n := len(f.entries); i == n && n > 0 {
		last := &f.entries[n-1]
		if !bytes.HasSuffix(last.raw, []byte("\n")) {
			last.raw = append(last.raw, ending...)
		}
		// A continuation that the end of the file cut off would take our line
		// in; an empty line ends it, or two when a NUL hides the end of a line
		// behind a backslash.
		for last.open {
			last.raw = append(last.raw, ending...)
			last.open = Parse(last.raw).entries[0].open
		}
	}
	f.entries = slices.Insert(f.entries, i, parseEntry([]byte(text+ending), text))
}

// lineEnding is the one that most lines of the file have; "\n" in doubt.
func (f *File) lineEnding() string {
	crlf, all := 0, 0
	for _, e := range f.entries {
		crlf += bytes.Count(e.raw, []byte("\r\n"))
		all += bytes.Count(e.raw, []byte("\n"))
	}
	if crlf > all-crlf {
		return "\r\n"
	}
	return "\n"
}
