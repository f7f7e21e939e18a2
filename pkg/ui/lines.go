package ui

import "strings"

const markWidth = 8

// prefix is the two first columns. Names that are longer than all before widen
// their column for the lines to come.
func (b *board) prefix(host, step string) string {
	if host == "" {
		host = "-"
	}
	host, step = clean(host), clean(step)
	b.hostWidth = max(b.hostWidth, columns(host))
	b.stepWidth = max(b.stepWidth, columns(step))
	return pad(host, b.hostWidth) + "  " + pad(step, b.stepWidth) + "  "
}

// render is the text of finished lines, each with its newline.
func (b *board) render(lines []line) string {
	var s strings.Builder
	for _, l := range lines {
		text := clean(l.text)
		if l.mark == "" {
			s.WriteString(paint(b.o.Color, Dim, text) + "\n")
			continue
		}
		row := b.prefix(l.host, l.step) + paint(b.o.Color, l.style, l.mark)
		if text != "" {
			row += strings.Repeat(" ", max(0, markWidth-columns(l.mark))) + "  " + text
		}
		s.WriteString(row + "\n")
		if b.o.Verbose >= 1 && l.diff != "" {
			writeDiff(&s, l.diff, "    ", b.o.Color)
		}
	}
	return s.String()
}

// writeDiff writes a unified diff, indented.
func writeDiff(s *strings.Builder, diff, indent string, color bool) {
	for _, l := range cleanLines(diff) {
		style := Normal
		switch {
		case strings.HasPrefix(l, "---"), strings.HasPrefix(l, "+++"):
			style = Bold
		case strings.HasPrefix(l, "@@"):
			style = Dim
		case strings.HasPrefix(l, "+"):
			style = Added
		case strings.HasPrefix(l, "-"):
			style = Removed
		}
		s.WriteString(strings.TrimRight(indent+paint(color, style, l), " ") + "\n")
	}
}
