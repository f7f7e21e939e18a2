// Command vagrant runs the main scenario in virtual machines: a primary under
// load, a standby bootstrapped beside it, a second bootstrap that finds nothing
// to do, and an undo. The hosts have a kernel, a disk and a boot of their own, and
// systemd runs their servers. A check that fails ends with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/pgrepctl/pgrepctl/test/figures"
)

func main() {
	bin := flag.String("bin", "build/pgrepctl", "the pgrepctl to run")
	contained := flag.Bool("contained", true, "with a libvirtd of our own that ends with us; else with this machine's")
	keep := flag.Bool("keep", false, "when something fails, keep the machines until Ctrl-C")
	out := flag.String("out", "build/figures/vagrant.jsonl", "where the figures go")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ok, err := run(ctx, *bin, *out, *contained, *keep)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vagrant:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, out string, contained, keep bool) (bool, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return false, err
	}
	var r figures.Report
	m, err := newMachines(contained, &r)
	if err != nil {
		return false, err
	}
	s := &scenario{machines: m, bin: bin}
	err = m.up(ctx)
	if err == nil {
		err = s.run(ctx)
	}
	if err != nil && keep {
		fmt.Fprintf(os.Stderr, "vagrant: %v\nThe machines are there until Ctrl-C: %s\n", err, m.how())
		<-ctx.Done()
	}
	if err := errors.Join(err, m.down(context.WithoutCancel(ctx))); err != nil {
		return false, err
	}
	if err := r.Table(os.Stdout); err != nil {
		return false, err
	}
	return r.OK(), r.Write(out)
}
