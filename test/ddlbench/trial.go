package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// trial is one row of the table: a load, and what is done to the schema meanwhile.
type trial struct {
	name   string
	on     shape
	delay  string        // max_standby_streaming_delay
	report time.Duration // of one report on each standby, begun before; 0 is none
	stream int           // clients that run short reports all the time
	// act is given the number of the deploy.
	act   func(ctx context.Context, s *stage, n int) (deploy, error)
	times int
	// attempts is how many the tool must need at least to get its lock.
	attempts int
	claim    claim
}

// deploy is one change of the schema.
type deploy struct {
	total    time.Duration
	attempts int           // until it had its lock
	own      time.Duration // the tool's, outside waiting for others
}

// outcome is what a trial showed.
type outcome struct {
	trial
	read, wrote reads
	reports     *reports
	deploys     []deploy
	failed      error // of a deploy

	waits     int           // of reads for a lock, as the servers logged them
	waited    time.Duration // the longest of them
	cancelled int           // by recovery, as the standbys logged it
	replay    time.Duration // the longest that replay waited for reads
	statement time.Duration // the longest ALTER on the primary
}

const (
	warmUp = 2 * time.Second
	// reportAhead is how long the reports have run when the change begins.
	reportAhead = 3 * time.Second
	calmDown    = time.Second
)

func (s *stage) try(ctx context.Context, t trial, d demand) (*outcome, error) {
	if !slices.Equal(s.on.standbys, t.on.standbys) || s.on.primary != t.on.primary {
		if err := s.serve(ctx, t.on); err != nil {
			return nil, err
		}
	}
	if err := s.delay(ctx, t.delay); err != nil {
		return nil, err
	}
	if err := s.settled(ctx); err != nil {
		return nil, err
	}
	d.reports = t.stream
	l, err := s.start(ctx, d)
	if err != nil {
		return nil, err
	}
	o := &outcome{trial: t, reports: &l.reports}
	runErr := s.during(ctx, o, l)
	o.read, o.wrote, err = l.stop()
	if err := errors.Join(runErr, err); err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	return o, nil
}

// during is what happens under the load.
func (s *stage) during(ctx context.Context, o *outcome, l *load) error {
	pause(ctx, warmUp)
	marks, err := s.marks(ctx)
	if err != nil {
		return err
	}
	l.forget()
	wait := func() {}
	if o.report > 0 {
		if wait, err = s.onEach(ctx, &l.reports, o.report); err != nil {
			return err
		}
		defer wait() // also after an error: its clients are closed at its end
		pause(ctx, reportAhead)
	}
	for n := range o.times {
		did, err := o.act(ctx, s, n)
		if err != nil {
			o.failed = fmt.Errorf("deploy %d: %w", n+1, err)
			break
		}
		o.deploys = append(o.deploys, did)
	}
	wait()
	for _, name := range o.on.standbys {
		if o.failed != nil {
			break // it may have left a standby paused
		}
		if err := s.caughtUp(ctx, name); err != nil {
			return err
		}
	}
	pause(ctx, calmDown)
	return s.readLogs(ctx, o, marks)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// marks are the lengths of the servers' logs.
func (s *stage) marks(ctx context.Context) (map[string]string, error) {
	marks := map[string]string{}
	for _, name := range s.servers() {
		size, err := s.sh(ctx, name, `stat -c %s "$1"`, s.files().Log)
		if err != nil {
			return nil, err
		}
		marks[name] = size
	}
	return marks, nil
}

func (s *stage) servers() []string { return append([]string{"h1"}, s.on.standbys...) }

func (s *stage) readLogs(ctx context.Context, o *outcome, marks map[string]string) error {
	said, err := s.balancersSay(ctx)
	if err != nil {
		return err
	}
	if err := s.keep(o, "balancers", said); err != nil {
		return err
	}
	for _, name := range s.servers() {
		text, err := s.sh(ctx, name, `tail -c +$(($2 + 1)) "$1"`, s.files().Log, marks[name])
		if err != nil {
			return err
		}
		if err := s.keep(o, name, text); err != nil {
			return err
		}
		l, err := readServerLog(strings.NewReader(text))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		reading := l.of("AccessShareLock")
		o.waits += len(reading)
		o.waited = max(o.waited, longest(reading))
		if name == "h1" {
			o.statement = l.statement
			continue
		}
		o.cancelled += l.cancelled
		o.replay = max(o.replay, l.replay)
	}
	return nil
}

// keep writes what somebody said during a trial where logs are kept.
func (s *stage) keep(o *outcome, whose, text string) error {
	if s.keepLogs == "" {
		return nil
	}
	file := fmt.Sprintf("%s.%s.%s.log", s.major, strings.ReplaceAll(o.name, " ", "-"), whose)
	if err := os.WriteFile(filepath.Join(s.keepLogs, file), []byte(text), 0o600); err != nil {
		return fmt.Errorf("keep log: %w", err)
	}
	return nil
}
