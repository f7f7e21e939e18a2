package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ledger is a client of h1 that inserts numbered rows, one a transaction, and
// writes down each number whose commit the server acknowledged. It connects
// again when the server dies. What it wrote down may never be missing.
type ledger struct {
	s     *site
	path  string // one acknowledged number a line
	ended chan struct{}
	err   error
}

func (s *site) ledger(t *testing.T) *ledger {
	t.Helper()
	// A database of its own: the hashes compare those of bench at rest.
	s.at(t, "h1", `as psql -XAtqc "create database ledger"; as psql -XAtqd ledger -c "create table ledger (n bigint primary key)"`)
	ctx, cancel := context.WithCancel(context.Background())
	l := &ledger{s: s, path: filepath.Join(t.TempDir(), "acknowledged"), ended: make(chan struct{})}
	f, err := os.Create(l.path)
	s.do(t, err)
	go l.run(ctx, f)
	t.Cleanup(func() {
		cancel()
		s.at(t, "h1", "pkill -KILL -x psql || true")
		<-l.ended
		if l.err != nil {
			t.Error(l.err)
		}
		s.at(t, "h1", `as psql -XAtqc "drop database ledger with (force)"`)
	})
	s.eventually(t, "the ledger has its first rows", func() bool { return len(l.acknowledged(t)) > 3 })
	return l
}

func (l *ledger) run(ctx context.Context, f *os.File) {
	defer close(l.ended)
	defer f.Close()
	for next := 1; ctx.Err() == nil; next++ {
		next, l.err = l.session(ctx, f, next)
		if l.err != nil {
			return
		}
		pause(50 * time.Millisecond) // the server may be down
	}
}

// session inserts from next on until its connection is lost, and returns the
// number whose outcome is not known.
func (l *ledger) session(ctx context.Context, f *os.File, next int) (int, error) {
	// Pipes of the system: psql has them itself, so its end is seen while
	// nothing is written.
	inR, inW, err := os.Pipe()
	if err != nil {
		return next, err
	}
	defer inW.Close()
	outR, outW, err := os.Pipe()
	if err != nil {
		return next, errors.Join(err, inR.Close())
	}
	defer outR.Close()
	go func() {
		_ = l.s.lab.Run(ctx, "h1", []string{"setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups",
			"psql", "-XAtqv", "ON_ERROR_STOP=1", "-d", "ledger"}, host.Stdio{In: inR, Out: outW})
		_ = inR.Close()
		_ = outW.Close()
	}()
	acks := bufio.NewScanner(outR)
	for ; ; next++ {
		if _, err := fmt.Fprintf(inW, "insert into ledger values (%d) returning n;\n", next); err != nil || !acks.Scan() {
			return next, nil // the server died, or it is the end
		}
		if acks.Text() != strconv.Itoa(next) {
			return next, fmt.Errorf("ledger: the server answered %q to %d", acks.Text(), next)
		}
		if _, err := fmt.Fprintln(f, next); err != nil {
			return next, err
		}
		pause(10 * time.Millisecond)
	}
}

func (l *ledger) acknowledged(t *testing.T) []string {
	t.Helper()
	return strings.Fields(string(read(t, l.path)))
}

// missing are the acknowledged numbers that a host does not have.
func (l *ledger) missing(t *testing.T, name string) []string {
	t.Helper()
	acked := l.acknowledged(t)
	have := map[string]bool{}
	for _, n := range strings.Fields(l.s.sql(t, name, "ledger", "select n from ledger")) {
		have[n] = true
	}
	var lost []string
	for _, n := range acked {
		if !have[n] {
			lost = append(lost, n)
		}
	}
	return lost
}
