package conf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Set gives name the value, so that Get returns it. It rewrites only the value
// on the last line that sets name; the spelling of the name, the spacing, the
// comment behind it and the line ending stay. Earlier lines with the same name
// have no effect and are left alone. Without such a line one is appended.
// Setting the value that is already there changes no byte.
//
// It refuses names that the server's scanner does not take, and values with a
// NUL, a carriage return or a newline, which no parameter has a use for.
func (f *File) Set(name, value string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("set %q: %w", name, err)
	}
	if err := checkValue(value); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	i := f.last(name)
	if i < 0 {
		f.append(name + " = " + Quote(value))
		return nil
	}
	l := f.lines[i]
	if l.value == value {
		return nil
	}
	text := Quote(value)
	// A quoted value stays quoted: this is how the operator writes, and
	// name'value' without a space between is a valid line.
	if l.raw[l.valStart] == '\'' || l.valStart == l.nameEnd {
		text = quoteAlways(value)
	}
	f.lines[i] = parseLine(bytes.Join([][]byte{l.raw[:l.valStart], []byte(text), l.raw[l.valEnd:]}, nil))
	return nil
}

// Unset removes every line that sets name and returns how many there were.
// Comments on these lines go with them; nothing else changes.
func (f *File) Unset(name string) int {
	name = foldName(name)
	var kept []line
	for _, l := range f.lines {
		if l.kind != setting || foldName(l.name) != name {
			kept = append(kept, l)
		}
	}
	removed := len(f.lines) - len(kept)
	f.lines = kept
	return removed
}

// append adds one line in the file's own line ending.
func (f *File) append(text string) {
	ending := f.lineEnding()
	if n := len(f.lines); n > 0 && !bytes.HasSuffix(f.lines[n-1].raw, []byte("\n")) {
		f.lines[n-1] = parseLine(append(f.lines[n-1].raw, ending...))
	}
	f.lines = append(f.lines, parseLine([]byte(text+ending)))
}

// lineEnding is the one that most lines of the file have; "\n" in doubt.
func (f *File) lineEnding() string {
	crlf := 0
	lf := 0
	for _, l := range f.lines {
		switch {
		case bytes.HasSuffix(l.raw, []byte("\r\n")):
			crlf++
		case bytes.HasSuffix(l.raw, []byte("\n")):
			lf++
		}
	}
	if crlf > lf {
		return "\r\n"
	}
	return "\n"
}

// Quote spells a value for a configuration file: as it is when it is a plain
// number (with or without a unit) or a plain ASCII word, in single quotes
// otherwise. This is not SQL quoting: here a backslash escapes too, and is
// therefore doubled.
func Quote(value string) string {
	t := scan([]byte(value), 0)
	whole := t.start == 0 && t.end == len(value)
	switch {
	case whole && (t.class == ident || t.class == integer) && isASCII(value):
		return value
	case whole && t.class == real && strings.ContainsAny(value, "0123456789"):
		return value
	}
	return quoteAlways(value)
}

func quoteAlways(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(value) + "'"
}

// checkName holds a name against the scanner: one identifier, or two with a dot
// between (a custom parameter). The server allows more dots and '$' in SET, but
// not in a file. Bytes >= 0x80 are letters for the scanner, yet no parameter
// has them; a BOM pasted into a name would pass.
func checkName(name string) error {
	t := scan([]byte(name), 0)
	if t.start != 0 || t.end != len(name) || t.class != ident && t.class != qualified || !isASCII(name) {
		return errors.New("not a parameter name that a configuration file can hold")
	}
	switch IncludeKind(foldName(name)) {
	case IncludeFile, IncludeIfExists, IncludeDir:
		return errors.New("an include directive, not a parameter")
	}
	return nil
}

func checkValue(value string) error {
	if strings.ContainsAny(value, "\x00\r\n") {
		return errors.New("value holds a NUL, carriage return or newline")
	}
	return nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
