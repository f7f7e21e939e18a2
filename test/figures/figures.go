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
	Unit  string  `json:"unit"` // "x", "s", "ms", "MiB", "count"
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
func (r *Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FIGURE\tVALUE\tBAR\t")
	for _, f := range r.list {
		bar, verdict := "-", ""
		if f.sense != "" {
			bar, verdict = fmt.Sprintf("%s %.4g %s", f.sense, f.Bar, f.Unit), "kept"
			if !f.OK {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(t, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, bar, verdict)
	}
	return t.Flush()
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
