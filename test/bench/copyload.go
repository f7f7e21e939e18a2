package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A load of pgbench on the source, at a rate, until it is ended.
const loadScript = `rm -f /tmp/load.log*
exec %spgbench -n -c 4 -j 2 -P 1000 --rate %s -T %d -l --log-prefix=/tmp/load.log bench`

// latency of one transaction in ms, as the client saw it: from its first statement to the
// answer to its COMMIT, and from when the rate wanted it to begin.
type latency struct {
	commit, scheduled float64
	at                time.Time
}

// load: a primary at 70 % of what it can do, alone and while it is copied. Source and target
// have processors and disks of their own, as two machines have.
func (c *copies) load(ctx context.Context) (err error) {
	if err := c.hold(ctx, text); err != nil {
		return err
	}
	back := func(context.Context) error { return nil }
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, back(ctx), c.psql(ctx, source, "postgres", "alter system set checkpoint_timeout = '1h'; select pg_reload_conf()"))
	}()
	if err := c.psql(ctx, source, "postgres", fmt.Sprintf("alter system set checkpoint_timeout = '%ds'; select pg_reload_conf()", int(checkpointTimeout.Seconds()))); err != nil {
		return err
	}
	if back, err = c.apart(ctx); err != nil {
		return err
	}
	disk := path.Dir(c.files.Data)
	if err := c.sh(ctx, ours, "root", "mount -t tmpfs -o size=8G,uid=$(id -u postgres),gid=$(id -g postgres) pgrepctl-load "+disk+" && { install -d -o postgres -g postgres -m 700 "+c.files.Data+" || { umount "+disk+"; false; }; }"); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.sh(context.WithoutCancel(ctx), ours, "root", "umount -l "+disk))
	}()
	var ratios, alones, copieds, comes, lags, kept []float64
	r := c.row("A full seed of a primary at 70 % of its rate")
	for n := range c.rounds {
		rate, err := c.mostTransactions(ctx)
		if err != nil {
			return err
		}
		rate *= 0.7
		alone, err := c.latencies(ctx, rate, func(ctx context.Context) error { return sleep(ctx, checkpointTimeout) })
		if err != nil {
			return err
		}
		report := &runReport{}
		copied, err := c.latencies(ctx, rate, func(ctx context.Context) error {
			return c.round(ctx, r, n, []variant{{name: "standby bootstrap --checkpoint spread", on: ours, do: c.tool(report, "standby", "bootstrap", ours, "--checkpoint", "spread")}})
		})
		if err != nil {
			return err
		}
		from, to, err := c.copying(report.Run)
		if err != nil {
			return err
		}
		if err := c.undone(report)(ctx); err != nil {
			return err
		}
		bytes := slices.DeleteFunc(slices.Clone(copied.of), func(l latency) bool { return l.at.Before(from) || l.at.After(to) })
		if len(bytes) < 100 {
			return errors.New("fewer than a hundred transactions while bytes came")
		}
		a, b := p99(alone.of), p99(copied.of)
		comes = append(comes, p99(bytes).commit/a.commit)
		ratios, alones, copieds = append(ratios, b.commit/a.commit), append(alones, a.commit), append(copieds, b.commit)
		lags = append(lags, b.scheduled/a.scheduled)
		kept = append(kept, 100*copied.rate/rate)
	}
	c.report.Note("pgbench at 70 % of its rate alone: p99", median(alones), "ms")
	c.report.Note("the same during a seed: p99", median(copieds), "ms")
	c.report.AtMost("p99 of commits during a seed / of the same load alone", median(ratios), "x", 2)
	c.report.AtMost("the same, of those that ended while bytes came", median(comes), "x", 2)
	c.report.AtLeast("the rate that was kept during a seed", median(kept), "%", 95)
	c.report.Note("the same p99 counted from when the rate wanted the transaction", median(lags), "x")
	return nil
}

// checkpointTimeout is that of the source: the load alone is measured for as long, and so
// with a checkpoint of its own.
const checkpointTimeout = time.Minute

// apart gives the source one half of the processors and the target the other, until back.
func (c *copies) apart(ctx context.Context) (back func(context.Context) error, err error) {
	none := func(context.Context) error { return nil }
	n := runtime.NumCPU()
	if n < 2 {
		return none, errors.New("source and target cannot have processors of their own: there is one only")
	}
	bind := func(ctx context.Context, host string, first, last int) error {
		list := fmt.Sprintf("%d-%d", first, last)
		return c.sh(ctx, host, "root", "for p in /proc/[0-9]*; do taskset -acp "+list+" ${p#/proc/} >/dev/null 2>&1; done; taskset -cp "+list+" $$ >/dev/null")
	}
	c.bound = fmt.Sprintf("taskset -c 0-%d ", n/2-1)
	back = func(ctx context.Context) error {
		c.bound = ""
		return errors.Join(bind(ctx, source, 0, n-1), bind(ctx, ours, 0, n-1))
	}
	return back, errors.Join(bind(ctx, source, 0, n/2-1), bind(ctx, ours, n/2, n-1))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// mostTransactions is how many a second the source does when nothing holds it back.
func (c *copies) mostTransactions(ctx context.Context) (float64, error) {
	out, err := c.lab.Exec(ctx, source, []string{"runuser", "-u", "postgres", "--", "sh", "-c", c.bound + "pgbench -n -c 4 -j 2 -T 10 bench 2>&1 | sed -n 's/^tps = \\([0-9.]*\\).*/\\1/p'"}, "")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out), 64)
}

// latencies of a load while do runs.
func (c *copies) latencies(ctx context.Context, rate float64, do func(context.Context) error) (measured, error) {
	ended := make(chan error, 1)
	go func() {
		ended <- c.sh(ctx, source, "postgres", fmt.Sprintf(loadScript, c.bound, fmt.Sprint(rate), 3600))
	}()
	if err := sleep(ctx, 3*time.Second); err != nil { // until its sessions have what they need
		return measured{}, err
	}
	from := time.Now()
	err := do(ctx)
	to := time.Now()
	// Its log is written late: the very end is not in it.
	if err := errors.Join(err, c.sh(ctx, source, "root", "pkill -x pgbench")); err != nil {
		return measured{}, err
	}
	<-ended
	out, err := c.lab.Exec(ctx, source, []string{"sh", "-c", "cat /tmp/load.log*"}, "")
	if err != nil {
		return measured{}, err
	}
	return parseLatencies(out, from, to)
}

// measured are the transactions that ended in a span of time.
type measured struct {
	of   []latency
	rate float64 // a second
}

// parseLatencies reads pgbench's log: client, number, µs from the schedule to the end, script,
// seconds and µs of the end, µs from the schedule to the begin.
func parseLatencies(log string, from, to time.Time) (measured, error) {
	var m measured
	var last time.Time
	for line := range strings.Lines(log) {
		var client, number, took, script, at, micro, lag int64
		if n, _ := fmt.Sscan(line, &client, &number, &took, &script, &at, &micro, &lag); n != 7 {
			continue
		}
		end := time.Unix(at, micro*1000)
		if end.Before(from) || end.After(to) {
			continue
		}
		if end.After(last) {
			last = end
		}
		m.of = append(m.of, latency{commit: float64(took-lag) / 1000, scheduled: float64(took) / 1000, at: end})
	}
	if len(m.of) < 100 {
		return m, errors.New("pgbench logged fewer than a hundred transactions")
	}
	m.rate = float64(len(m.of)) / seconds(last.Sub(from))
	return m, nil
}

func p99(all []latency) latency {
	of := func(get func(latency) float64) float64 {
		var x []float64
		for _, l := range all {
			x = append(x, get(l))
		}
		slices.Sort(x)
		return x[len(x)*99/100]
	}
	return latency{commit: of(func(l latency) float64 { return l.commit }), scheduled: of(func(l latency) float64 { return l.scheduled })}
}

// underLoad: a seed of 20 GiB while the source writes, and all rows equal in the end.
func (c *copies) underLoad(ctx context.Context) error {
	if err := c.hold(ctx, huge); err != nil {
		return err
	}
	r := c.row("A full seed of 20 GiB under load")
	report := &runReport{}
	_, err := c.latencies(ctx, 100, func(ctx context.Context) error {
		return c.round(ctx, r, 0, []variant{{name: toolFresh, on: ours, do: c.tool(report, "standby", "bootstrap", ours)}})
	})
	if err != nil {
		return err
	}
	if err := c.equal(ctx, "20 GiB seeded under load"); err != nil {
		return err
	}
	return c.undone(report)(ctx)
}

// equal counts the tables whose rows differ on the source and the tool's target, once
// that has replayed all there is.
func (c *copies) equal(ctx context.Context, what string) error {
	at, err := c.ask(ctx, source, "postgres", "select pg_current_wal_lsn()")
	if err != nil {
		return err
	}
	if err := c.sh(ctx, ours, "postgres", `until [ "$(psql -XAtqc "select pg_last_wal_replay_lsn() >= '`+at+`'")" = t ]; do sleep 0.05; done`); err != nil {
		return err
	}
	tables, err := c.ask(ctx, source, "bench", "select oid::regclass from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1")
	if err != nil {
		return err
	}
	different := 0
	for t := range strings.Lines(tables) {
		t = strings.TrimSpace(t)
		sql := "select count(*), sum(hashtextextended(t::text, 0)::numeric) from " + t + " t"
		var got [2]string
		var errs [2]error
		both := make(chan int)
		for i, h := range []string{source, ours} {
			go func() { got[i], errs[i] = c.ask(ctx, h, "bench", sql); both <- i }()
		}
		<-both
		<-both
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		if got[0] != got[1] {
			different++
		}
	}
	c.report.None(what+": tables that differ", float64(different), "count")
	return nil
}
