package ui

// Style is how a text looks. What it means is said by the text too.
type Style int

const (
	Normal Style = iota
	Good
	Warn
	Bad
	Dim
	Bold
	Added   // of a diff
	Removed // of a diff
)

// sgr is the style's "select graphic rendition" parameter (ECMA-48, 8.3.117),
// from the sixteen colours that every terminal's user has set to be legible.
func (s Style) sgr() string {
	switch s {
	case Good, Added:
		return "32"
	case Warn:
		return "33"
	case Bad:
		return "1;31"
	case Removed:
		return "31"
	case Dim:
		return "2"
	case Bold:
		return "1"
	default:
		return ""
	}
}

// paint colours text. It is called after alignment, so that the escape
// sequences are never counted as width.
func paint(color bool, s Style, text string) string {
	code := s.sgr()
	if !color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
