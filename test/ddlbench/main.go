// Command ddlbench proves on real hosts of a lab, with HAProxy and PgBouncer, what
// the project says of rolling DDL: that no read fails, waits or is cancelled. Beside
// it, it shows what the same change does when it is simply run, and is itself
// wrong if that does no harm. A missed bar ends with 1.
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

	"github.com/pgrepctl/pgrepctl/test/figures"
)

func main() {
	bin := flag.String("bin", "build/pgrepctl", "the pgrepctl to measure")
	short := flag.Bool("short", false, "a sample: few cases, short reports")
	versions := flag.String("versions", "15", "major versions of PostgreSQL, one after another")
	deploys := flag.Int("deploys", 100, "deploys one after another, under a stream of reports")
	only := flag.String("only", "", "only the rows whose name contains this, and that without DDL")
	rate := flag.Int("rate", 800, "reads a second")
	clients := flag.Int("clients", 16, "clients that read")
	out := flag.String("out", "build/figures/ddl.jsonl", "where the figures go")
	doc := flag.String("doc", "", "where the tables of a whole run are written as a document; empty is nowhere")
	logs := flag.String("logs", "", "a directory to keep the servers' logs of each trial in")
	flag.Parse()
	if *short && *doc != "" {
		fmt.Fprintln(os.Stderr, "ddlbench: -doc is of a whole run, not of a sample")
		os.Exit(2)
	}
	b := &bench{bin: *bin, only: *only, logs: *logs,
		demand:  demand{clients: *clients, rate: *rate, writers: 2, writes: 40},
		program: program{report: 25 * time.Second, deploys: *deploys, hold: 8 * time.Second, slack: 1}}
	if *short {
		b.program = program{report: 6 * time.Second, deploys: 3, hold: 4 * time.Second, few: true, slack: 5}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := b.run(ctx, strings.Fields(*versions))
	if err == nil && *doc != "" && *only == "" {
		err = b.document(*doc)
	}
	err = errors.Join(err, b.report.Missed(os.Stderr), b.report.Write(*out))
	if err != nil {
		fmt.Fprintln(os.Stderr, "ddlbench:", err)
	}
	if err != nil || !b.report.OK() {
		os.Exit(1)
	}
}

type bench struct {
	bin, only, logs string
	demand
	program
	done   []tested
	report figures.Report
}

// tested is what all trials showed on one version.
type tested struct {
	version  string
	outcomes []*outcome
}

func (b *bench) run(ctx context.Context, majors []string) error {
	bin, err := filepath.Abs(b.bin)
	if err != nil {
		return err
	}
	b.bin = bin
	for _, major := range majors {
		if err := b.onVersion(ctx, major); err != nil {
			return fmt.Errorf("PostgreSQL %s: %w", major, err)
		}
	}
	return nil
}

// chosen are the trials that are asked for; all others are measured against that without DDL.
func (b *bench) chosen() []trial {
	if b.only == "" && b.few {
		return b.sample()
	}
	return slices.DeleteFunc(b.trials(), func(t trial) bool { return !strings.Contains(t.name, b.only) && t.name != noDDL })
}

func (b *bench) onVersion(ctx context.Context, major string) (err error) {
	trials := b.chosen()
	hosts := 0
	for _, t := range trials {
		hosts = max(hosts, 1+len(t.on.standbys))
	}
	v := tested{version: major}
	defer func() {
		b.done = append(b.done, v)
		err = errors.Join(err, writeTable(os.Stdout, v.outcomes))
	}()
	var s *stage
	defer func() {
		if s != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	for _, t := range trials {
		if s == nil {
			if s, err = open(ctx, b.bin, major, b.logs, hosts); err != nil {
				return err
			}
		}
		o, err := s.try(ctx, t, b.demand)
		if err != nil {
			return err
		}
		v.outcomes = append(v.outcomes, o)
		o.book(&b.report, major, v.outcomes[0], b.clients, b.slack)
		o.tell(os.Stderr)
		if o.failed != nil { // what it left is not what the next one is to begin with
			failed := s
			s = nil
			if err := failed.close(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
