package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// runCopies measures the copy in a lab of its own. Of a run of all rows the tables go into
// the page doc, if it is given.
func runCopies(ctx context.Context, bin, out, only, doc string, rounds, percent int) (ok bool, err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	state, err := os.MkdirTemp("", "pgrepctl-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(state)
	l, err := lab.Up(ctx, lab.Options{Name: "copy", Hosts: 3, Cluster: true, Layout: lab.DataDirectory, Packages: peerPackages(), PlainData: true,
		State: filepath.Join(state, "lab"), Binary: bin, Notify: func(s string) { fmt.Fprintln(os.Stderr, s) }})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	of := func(n int) int { return max(1, n*percent/100) }
	c := &copies{bench: &bench{lab: l, bin: bin, state: state, rounds: rounds}, files: l.Files(l.Layout),
		sizes: sizes{pgbench: of(280), text: of(30), tables: of(20) * 5000, huge: of(1400)}}
	err = c.run(ctx, only)
	// What was measured is of use also when a later row failed.
	if write := c.write(out, doc, only == "" && percent == 100 && err == nil); write != nil {
		err = errors.Join(err, write)
	}
	return c.report.OK(), err
}

// write shows the tables, and keeps them.
func (c *copies) write(out, doc string, whole bool) error {
	var tables bytes.Buffer
	fmt.Fprintf(&tables, "%d cores. %s.\n", runtime.NumCPU(), c.versions)
	for _, r := range c.rows {
		r.write(&tables)
	}
	if _, err := os.Stdout.Write(tables.Bytes()); err != nil {
		return err
	}
	if err := c.report.Table(os.Stdout); err != nil {
		return err
	}
	var bars bytes.Buffer
	c.report.Markdown(&bars)
	for _, r := range c.rows {
		for _, v := range r.order {
			c.report.Note(r.title+": "+v+", median", r.median(v, took), "s")
			c.report.Note(r.title+": "+v+", received, median", r.median(v, wire)/1e6, "MB")
		}
	}
	if err := c.report.Write(out); err != nil {
		return err
	}
	if doc == "" || !whole {
		return nil
	}
	page, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	fmt.Fprintf(&tables, "\n### The bars\n\nMedians of %d rounds.\n\n", c.rounds)
	tables.Write(bars.Bytes())
	page, err = splice(page, tables.Bytes())
	if err != nil {
		return fmt.Errorf("%s: %w", doc, err)
	}
	return os.WriteFile(doc, page, 0o644)
}

// The lines of a page between which the tables are.
const (
	tablesBegin = "<!-- make bench-copy writes from here -->\n"
	tablesEnd   = "<!-- to here -->\n"
)

func splice(page, tables []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(page, []byte(tablesBegin))
	_, after, ends := bytes.Cut(rest, []byte(tablesEnd))
	if !found || !ends {
		return nil, errors.New("the lines that enclose the tables are gone")
	}
	return slices.Concat(before, []byte(tablesBegin), tables, []byte(tablesEnd), after), nil
}

// write is a table of Markdown: it is for people and for a page alike.
func (r *row) write(w io.Writer) {
	fmt.Fprintf(w, "\n### %s\n\n| variant | s, median (min to max) | MB received |\n| --- | --- | --- |\n", r.title)
	for _, v := range r.order {
		low, high := math.Inf(1), 0.0
		for _, x := range r.costs[v] {
			low, high = min(low, x.seconds), max(high, x.seconds)
		}
		fmt.Fprintf(w, "| %s | %.2f (%.2f to %.2f) | %.0f |\n", v, r.median(v, took), low, high, r.median(v, wire)/1e6)
	}
	fmt.Fprintln(w)
}
