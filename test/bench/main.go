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
	"strings"
	"syscall"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

func main() {
	bin := flag.String("bin", "build/pgrepctl", "the pgrepctl to measure")
	short := flag.Bool("short", false, "few rounds, small data")
	out := flag.String("out", "build/figures/bench.jsonl", "where the figures go")
	only := flag.String("only", "", "one measure: start-up, bootstrap, status, memory, scale or check; of the copy: empty, text, files, seed, link, load or 20g")
	copying := flag.Bool("copy", false, "measure the copy, beside what else makes a standby")
	rounds := flag.Int("rounds", 3, "of the copy")
	share := flag.Int("percent", 100, "of the size of the copy's data, to try it out")
	doc := flag.String("doc", "", "page that the copy's tables are written into")
	fleet := flag.Int("fleet", 0, "be that many hosts, for the measure scale")
	fleetDir := flag.String("fleet-dir", "", "where what a client needs is written")
	fleetLab := flag.String("fleet-lab", "", "STATE:NAME of the lab that they answer like")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *fleet > 0 {
		state, name, _ := strings.Cut(*fleetLab, ":")
		if err := serveFleet(ctx, *fleet, *fleetDir, state, name); err != nil {
			fmt.Fprintln(os.Stderr, "bench: fleet:", err)
			os.Exit(1)
		}
		return
	}
	if *copying {
		ok, err := runCopies(ctx, *bin, *out, *only, *doc, *rounds, *share)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		if err != nil || !ok {
			os.Exit(1)
		}
		return
	}
	ok, err := run(ctx, *bin, *out, *only, *short)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out, only string, short bool) (ok bool, err error) {
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
	for _, m := range []struct {
		name string
		do   func(context.Context) error
	}{{"start-up", b.startUp}, {"bootstrap", b.bootstrap}, {"status", b.status}, {"memory", b.memory}, {"scale", b.status1000}, {"check", b.answers}} {
		if only != "" && only != m.name {
			continue
		}
		if err := m.do(ctx); err != nil {
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
