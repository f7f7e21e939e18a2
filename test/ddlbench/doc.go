package main

import (
	_ "embed"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/template"
	"time"
)

//go:embed document.md
var documentText string

// document writes the tables, with what they mean.
func (b *bench) document(path string) error {
	t, err := template.New("document").Option("missingkey=error").Parse(documentText)
	if err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	var missed strings.Builder
	if err := b.report.Missed(&missed); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	type section struct{ Version, Table string }
	var sections []section
	for _, v := range b.done {
		sections = append(sections, section{v.version, markdown(v.outcomes)})
	}
	var out strings.Builder
	if err := t.Execute(&out, map[string]any{
		"Demand": map[string]int{"Clients": b.demand.clients, "Rate": b.demand.rate}, "Beat": span(beatEvery), "Report": seconds(b.program.report), "Ahead": seconds(reportAhead),
		"Stream": streamReports, "Rows": rowsOfItems, "LockTimeout": lockTimeout, "Hold": seconds(b.program.hold), "Own": seconds(mostOwn), "Cores": runtime.NumCPU(),
		"Tested": sections, "Missed": missed.String(),
	}); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }

func markdown(all []*outcome) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(columns())
	b.WriteString(strings.Repeat("|---", len(columns())) + "|\n")
	for _, o := range all {
		line(o.row())
	}
	return b.String()
}
