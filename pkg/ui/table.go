package ui

import (
	"io"
	"math"
	"slices"
	"strings"
)

// Cell is one field of a table. An empty text is shown as "-", so that a
// reader and awk count the same columns.
type Cell struct {
	Text  string
	Style Style
}

// TableOptions says how a table is shown.
type TableOptions struct {
	Color bool
	// Right lists the columns, from 0, that are aligned at their right:
	// numbers.
	Right []int
	// Width cuts rows to the width of a terminal; 0 never cuts.
	Width int
}

// Row makes cells of texts in normal style.
func Row(texts ...string) []Cell {
	row := make([]Cell, len(texts))
	for i, t := range texts {
		row[i] = Cell{Text: t}
	}
	return row
}

// Table writes rows under a header, aligned by the width of the texts. Rows
// shorter than the header are filled up; a nil header writes none.
func Table(w io.Writer, header []string, rows [][]Cell, o TableOptions) error {
	all := rows
	if header != nil {
		head := Row(header...)
		for i := range head {
			head[i].Style = Bold
		}
		all = append([][]Cell{head}, rows...)
	}
	widths := make([]int, len(header))
	for _, row := range all {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], columns(shown(c)))
		}
	}
	var b strings.Builder
	for _, row := range all {
		writeRow(&b, row, widths, o)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func shown(c Cell) string {
	if c.Text == "" {
		return "-"
	}
	return clean(c.Text)
}

func writeRow(b *strings.Builder, row []Cell, widths []int, o TableOptions) {
	var line strings.Builder
	left := o.Width
	if left <= 0 {
		left = math.MaxInt
	}
	put := func(s Style, text string) {
		text = fit(text, left)
		left -= columns(text)
		line.WriteString(paint(o.Color, s, text))
	}
	space := func(n int) {
		n = max(0, min(n, left))
		left -= n
		line.WriteString(strings.Repeat(" ", n))
	}
	for i, width := range widths {
		if i > 0 {
			space(2)
		}
		c := Cell{}
		if i < len(row) {
			c = row[i]
		}
		text := shown(c)
		fill := width - columns(text)
		if slices.Contains(o.Right, i) {
			space(fill)
			fill = 0
		}
		put(c.Style, text)
		space(fill)
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
