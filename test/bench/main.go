// Command bench measures what the project promises about speed and size, on real
// hosts of a lab, as ratios and counts of one run. A missed bar ends with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

func main() {
	bin := flag.String("bin", "build/pgrepctl", "the pgrepctl to measure")
	short := flag.Bool("short", false, "few rounds, small data")
	out := flag.String("out", "build/figures/bench.jsonl", "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, *bin, *out, *short)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out string, short bool) (ok bool, err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	state, err := os.MkdirTemp("", "pgrepctl-bench-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(state)
	name := "bench"
	l, err := lab.Up(ctx, lab.Options{Name: name, Hosts: 3, Cluster: true, State: filepath.Join(state, "lab"), Binary: bin,
		Notify: func(s string) { fmt.Fprintln(os.Stderr, s) }})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()
	b := &bench{lab: l, bin: bin, state: state, rounds: 5, scale: 140}
	if short {
		b.rounds, b.scale = 3, 20
	}
	for _, measure := range []func(context.Context) error{b.startUp, b.prepare, b.bootstrap, b.status, b.memory} {
		if err := measure(ctx); err != nil {
			return false, err
		}
	}
	if err := b.report.Table(os.Stdout); err != nil {
		return false, err
	}
	return b.report.OK(), b.report.Write(out)
}

func median(d []float64) float64 {
	slices.Sort(d)
	n := len(d)
	if n%2 == 1 {
		return d[n/2]
	}
	return (d[n/2-1] + d[n/2]) / 2
}

func seconds(d time.Duration) float64 { return d.Seconds() }
