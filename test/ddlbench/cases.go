package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// lockTimeout is how long one attempt of the tool may wait on the primary, and so
// hold up writes.
const lockTimeout = 200 * time.Millisecond

// program is which trials are done, and how long they last.
type program struct {
	report  time.Duration // of one report on each standby
	deploys int           // one after another, under a stream of reports
	hold    time.Duration // of the transaction that holds the table on the primary
	few     bool          // a sample: no more than what shows that the benchmark works
	// slack is how many times as slow as its bar the tool may be: the machine of a sample is busy with other tests.
	slack time.Duration
}

const (
	noDDL         = "no DDL"
	streamReports = 3
)

func (p program) trials() []trial {
	two, three, one := shape{standbys: []string{"h2", "h3"}}, shape{standbys: []string{"h2", "h3", "h4"}}, shape{standbys: []string{"h2"}, primary: true}
	some := max(5, p.deploys/10) // of two, both may meet no report
	return []trial{
		{name: noDDL, on: two, delay: "30s", report: p.report, claim: harmless},
		{name: "naive, delay 30s", on: two, delay: "30s", report: p.report, act: naive, times: 1, claim: blocks},
		{name: "naive, delay -1", on: two, delay: "-1", report: p.report, act: naive, times: 1, claim: blocks},
		{name: "naive, delay 0", on: two, delay: "0", report: p.report, act: naive, times: 1, claim: cancels},
		{name: "gate", on: two, delay: "30s", report: p.report, act: byTool("gate", addColumn), times: 1},
		{name: "roll", on: two, delay: "30s", report: p.report, act: byTool("roll", addColumn), times: 1, claim: harmless},
		{name: "roll, rewrite", on: two, delay: "30s", report: p.report, act: byTool("roll", rewrite, "--allow-rewrite"), times: 1, claim: harmless},
		{name: "roll, table held", on: two, delay: "30s", act: held(p.hold, byTool("roll", addColumn)), times: 1, attempts: 3, claim: harmless},
		{name: "roll, three standbys", on: three, delay: "30s", report: p.report, act: byTool("roll", addColumn), times: 1, claim: harmless},
		{name: "via primary", on: one, delay: "30s", report: p.report, act: byTool("via-primary", addColumn), times: 1, claim: harmless},
		{name: fmt.Sprintf("naive, %d deploys", some), on: two, delay: "30s", stream: streamReports, act: naive, times: some, claim: blocks},
		{name: fmt.Sprintf("via primary, %d deploys", p.deploys), on: one, delay: "30s", stream: streamReports, act: byTool("via-primary", toAndFro), times: p.deploys, claim: harmless},
		{name: fmt.Sprintf("roll, %d deploys", p.deploys), on: two, delay: "30s", stream: streamReports, act: byTool("roll", toAndFro), times: p.deploys, claim: harmless},
	}
}

// sample is those that show in short that the benchmark works, and that the tool does.
func (p program) sample() []trial {
	all := p.trials()
	names := []string{noDDL, "naive, delay 30s", "roll", "via primary", all[len(all)-1].name}
	return slices.DeleteFunc(all, func(t trial) bool { return !slices.Contains(names, t.name) })
}

// What is deployed. Each trial begins with the table as all others left it, so
// each column has a name of its own.
func addColumn(n int) string { return fmt.Sprintf("alter table items add column %s int", newColumn(n)) }
func rewrite(n int) string {
	return fmt.Sprintf("alter table items add column %s float8 default random()", newColumn(n))
}

// toAndFro adds a column and drops it again, however often.
func toAndFro(n int) string {
	if n%2 == 0 {
		return fmt.Sprintf("alter table items add column fro%d int", n)
	}
	return fmt.Sprintf("alter table items drop column fro%d", n-1)
}

func newColumn(n int) string { return fmt.Sprintf("c%d_%d", time.Now().UnixMilli(), n) }

// naive is what everybody does: the statement, on the primary.
func naive(ctx context.Context, s *stage, n int) (deploy, error) {
	began := time.Now()
	if _, err := s.sql(ctx, "h1", addColumn(n)); err != nil {
		return deploy{}, err
	}
	for _, name := range s.on.standbys {
		if err := s.caughtUp(ctx, name); err != nil {
			return deploy{}, err
		}
	}
	return deploy{total: time.Since(began)}, nil
}

// deployReport is the part of the tool's report that is measured.
type deployReport struct {
	Run     string            `json:"run"`
	Outputs map[string]string `json:"outputs"`
}

// byTool deploys with pgrepctl.
func byTool(mode string, statement func(n int) string, flags ...string) func(context.Context, *stage, int) (deploy, error) {
	return func(ctx context.Context, s *stage, n int) (deploy, error) {
		file := filepath.Join(s.state, "change.sql")
		if err := os.WriteFile(file, []byte(statement(n)+";\n"), 0o600); err != nil {
			return deploy{}, fmt.Errorf("write the change: %w", err)
		}
		args := append([]string{"ddl", "deploy", file, "--database", database, "--mode", mode, "--lock-timeout", lockTimeout.String(), "-y", "-o", "json"}, flags...)
		var r deployReport
		began := time.Now()
		if err := s.call(ctx, &r, args...); err != nil {
			return deploy{}, err
		}
		d := deploy{total: time.Since(began)}
		if _, err := fmt.Sscan(r.Outputs[effect.DDLAttempts], &d.attempts); err != nil {
			return deploy{}, fmt.Errorf("attempts of the deploy: %w", err)
		}
		recs, err := s.journal(r.Run)
		if err != nil {
			return deploy{}, err
		}
		waited, err := waiting(recs)
		d.own = d.total - waited
		return d, err
	}
}

// held deploys while a transaction on the primary reads from the table. It goes on for
// a while after the change has asked for its lock, whenever that is.
func held(hold time.Duration, act func(context.Context, *stage, int) (deploy, error)) func(context.Context, *stage, int) (deploy, error) {
	return func(ctx context.Context, s *stage, n int) (deploy, error) {
		holder, err := s.connect(ctx, ofThePrimary())
		if err != nil {
			return deploy{}, err
		}
		defer holder.close()
		if _, err := holder.row(ctx, "begin; select 1 from items where id = 1"); err != nil {
			return deploy{}, err
		}
		acting, over := context.WithCancel(ctx)
		defer over()
		ended := make(chan error, 1)
		go func() { ended <- s.letGo(acting, holder, hold) }()
		d, err := act(ctx, s, n)
		over()
		return d, errors.Join(err, <-ended)
	}
}

const lockAwaited = `select count(*) from pg_locks where relation = 'items'::regclass and mode = 'AccessExclusiveLock' and not granted`

// letGo ends the holder's transaction some time after somebody waits for it.
func (s *stage) letGo(ctx context.Context, holder *client, hold time.Duration) error {
	for ctx.Err() == nil {
		waiting, err := holder.value(ctx, lockAwaited)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("hold the table: %w", err)
		}
		if waiting != "0" {
			break
		}
		pause(ctx, beatEvery)
	}
	pause(ctx, hold)
	if _, err := holder.row(context.WithoutCancel(ctx), "commit"); err != nil && ctx.Err() == nil {
		return fmt.Errorf("hold the table: %w", err)
	}
	return nil
}
