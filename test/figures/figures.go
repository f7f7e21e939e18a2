// Package figures is how every benchmark and matrix of the project reports: a
// table for people, and the same figures as JSON lines.
package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// Figure is one measured value, as a ratio or a count of one run, and its bar.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "x", "%", "s", "ms", "MiB", "MB", "count"
	Bar   float64 `json:"bar"`
	OK    bool    `json:"ok"`

	// sense is how the value must stand to the bar, empty without one.
	sense string
}

// Report collects figures.
type Report struct{ list []Figure }

// AtMost adds a figure that must not be above its bar.
func (r *Report) AtMost(name string, value float64, unit string, bar float64) {
	r.list = append(r.list, Figure{name, value, unit, bar, value <= bar, "<="})
}

// AtLeast adds a figure that must not be below its bar.
func (r *Report) AtLeast(name string, value float64, unit string, bar float64) {
	r.list = append(r.list, Figure{name, value, unit, bar, value >= bar, ">="})
}

// None adds a count that must be zero.
func (r *Report) None(name string, value float64, unit string) {
	r.list = append(r.list, Figure{name, value, unit, 0, value == 0, "="})
}

// Note adds a figure without a bar.
func (r *Report) Note(name string, value float64, unit string) {
	r.list = append(r.list, Figure{Name: name, Value: value, Unit: unit, OK: true})
}

// OK reports whether every bar was kept.
func (r *Report) OK() bool {
	for _, f := range r.list {
		if !f.OK {
			return false
		}
	}
	return true
}

// Table writes the figures for people.
func (r *Report) Table(w io.Writer) error { return table(w, r.list) }

// Missed writes those whose bar was missed, and nothing if there is none.
func (r *Report) Missed(w io.Writer) error {
	var missed []Figure
	for _, f := range r.list {
		if !f.OK {
			missed = append(missed, f)
		}
	}
	if missed == nil {
		return nil
	}
	return table(w, missed)
}

func table(w io.Writer, list []Figure) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tBAR\t")
	for _, f := range list {
		bar, verdict := f.verdict()
		fmt.Fprintf(t, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, bar, verdict)
	}
	return t.Flush()
}

// Markdown writes the figures as a table of a page.
func (r *Report) Markdown(w io.Writer) {
	fmt.Fprint(w, "| figure | value | bar | |\n| --- | --- | --- | --- |\n")
	for _, f := range r.list {
		bar, verdict := f.verdict()
		fmt.Fprintf(w, "| %s | %.4g %s | %s | %s |\n", f.Name, f.Value, f.Unit, bar, verdict)
	}
}

func (f Figure) verdict() (bar, verdict string) {
	switch {
	case f.sense == "":
		return "-", ""
	case f.OK:
		verdict = "kept"
	default:
		verdict = "MISSED"
	}
	return fmt.Sprintf("%s %.4g %s", f.sense, f.Bar, f.Unit), verdict
}

// Write writes the figures as JSON lines.
func (r *Report) Write(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	enc := json.NewEncoder(f)
	for _, x := range r.list {
		if err := enc.Encode(x); err != nil {
			return fmt.Errorf("write figures: %w", err)
		}
	}
	return f.Close()
}
