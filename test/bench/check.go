package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// answers: `check serve` says what it knows, whatever the hosts do. All of them are
// dead here, so it knows that they are out. It is the last measurement.
func (b *bench) answers(ctx context.Context) error {
	for _, h := range b.lab.Hosts() {
		if err := b.lab.Kill(ctx, h.Name); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, b.bin, "-i", b.lab.InventoryPath(), "check", "serve", "--listen", "127.0.0.1:0", "--interval", "500ms")
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(b.state, "runs"))
	said, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("pgrepctl check serve: %w", err)
	}
	lines := bufio.NewScanner(said)
	address := ""
	for address == "" && lines.Scan() {
		_, address, _ = strings.Cut(lines.Text(), "HTTP on ")
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, said)
	}()
	m, err := ask(ctx, "http://"+address)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	<-drained
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("pgrepctl check serve: %w", err)
	}
	const bar = 5 // ms
	name := fmt.Sprintf("check serve with all hosts dead, p99 of %d answers", len(m.ours))
	b.report.Note("a bare HTTP server meanwhile, p99", m.p99(m.bare), "ms")
	b.report.AtMost("check serve beyond a bare HTTP server, p99, median of paired batches", median(m.beyond), "ms", bar)
	if m.p99(m.bare) > bar/2 {
		// The machine is busy with others: what is measured is its scheduler.
		b.report.Note(name+" (busy machine, no bar)", m.p99(m.ours), "ms")
		return nil
	}
	b.report.AtMost(name, m.p99(m.ours), "ms", bar)
	return nil
}

// answered are the times of answers in ms: of the check, and of a server that knows
// nothing, asked by turns, so that what others do to the machine is in both.
type answered struct {
	ours, bare []float64
	beyond     []float64 // of the p99 of each batch
}

func (*answered) p99(ms []float64) float64 {
	s := slices.Sorted(slices.Values(ms))
	return s[len(s)*99/100]
}

const (
	batches   = 20
	batchSize = 100
)

// ask takes times, each on a new connection, as HAProxy makes one, 200 a second of each.
func ask(ctx context.Context, base string) (*answered, error) {
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer bare.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	pace := time.NewTicker(2500 * time.Microsecond)
	defer pace.Stop()
	m := &answered{}
	for range batches {
		var ours, others []float64
		for i := range batchSize {
			for url, into := range map[string]*[]float64{fmt.Sprintf("%s/h%d/replica?lag=16MB", base, i%3+1): &ours, bare.URL: &others} {
				<-pace.C
				took, err := answer(ctx, client, url)
				if err != nil {
					return nil, err
				}
				*into = append(*into, seconds(took)*1000)
			}
		}
		m.ours, m.bare = append(m.ours, ours...), append(m.bare, others...)
		m.beyond = append(m.beyond, m.p99(ours)-m.p99(others))
	}
	return m, nil
}

func answer(ctx context.Context, client *http.Client, url string) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, url, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	r, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	took := time.Since(began)
	if r.StatusCode != http.StatusServiceUnavailable {
		err = errors.Join(err, fmt.Errorf("a dead host is answered with %s", r.Status))
	}
	return took, errors.Join(err, r.Body.Close())
}
