package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseTablespaceMap reads a tablespace_map: the locations that symlinks of
// pg_tblspc led to when the backup began, in its order. In-place tablespaces are
// plain directories and not in it.
func ParseTablespaceMap(text string) ([]string, error) {
	var out []string
	for text != "" {
		var line string
		if line, text = mapLine(text); line == "" {
			continue
		}
		oid, location, ok := strings.Cut(line, " ")
		if _, err := strconv.ParseUint(oid, 10, 32); err != nil || !ok || location == "" {
			return nil, fmt.Errorf("parse tablespace_map: %q is not an oid and a location", line)
		}
		out = append(out, location)
	}
	return out, nil
}

// MoveTablespaces gives locations in a tablespace_map other places: move returns the
// new one, or the same. What stays is kept byte for byte.
func MoveTablespaces(text string, move func(location string) string) (string, error) {
	var b strings.Builder
	for text != "" {
		line, rest := mapLine(text)
		raw := text[:len(text)-len(rest)]
		text = rest
		oid, location, ok := strings.Cut(line, " ")
		to := move(location)
		if !ok || to == location {
			b.WriteString(raw)
			continue
		}
		// How these are escaped differs between versions (14).
		if strings.ContainsAny(to, "\\\n\r") {
			return "", fmt.Errorf("move a tablespace to %q: backslash or line break in a location", to)
		}
		b.WriteString(oid + " " + to + "\n")
	}
	return b.String(), nil
}

// mapLine cuts off the first line. The server writes a backslash before line
// breaks in a location, and since 14 before backslashes.
func mapLine(text string) (line, rest string) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && strings.IndexByte("\\\n\r", text[i+1]) >= 0:
			i++
			b.WriteByte(text[i])
		case c == '\n' || c == '\r':
			return b.String(), text[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
