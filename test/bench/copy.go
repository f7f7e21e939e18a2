package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// The hosts of a comparison: the source, a target of the tool, and one of the
// programs that it is compared with, so that what one left behind never helps or
// hinders the other.
const (
	source = "h1"
	ours   = "h2"
	theirs = "h3"

	sourceAddress = "10.77.0.11"
)

// copies compares the copy of the tool with what its users would take instead.
// All of a row's variants run once a round, in an order that turns, and their
// ratios are those of one round: what else happens on the machine hits them alike.
type copies struct {
	*bench
	files lab.PostgresFiles
	sizes sizes
	held  string // the data set on the source
	bound string // how a command of the source is begun that has only its processors

	versions string // of what is compared
	warmed   int    // how often the page cache was filled

	rows []*row
	peak int64 // of the tool's memory, in bytes, over all of its runs
}

// sizes of the data sets.
type sizes struct {
	pgbench int // scale of the large one: 15.8 MB each
	text    int // of the one that compresses 4:1: 24 MB each
	tables  int // small relations
	huge    int // scale of the one that is copied under load
}

// cost is what one run took.
type cost struct {
	seconds float64
	wire    float64 // bytes that the target received
	wal     float64 // bytes of them that were streamed
}

// row is one kind of work, and what each variant of it cost in each round.
type row struct {
	title string
	order []string
	costs map[string][]cost
}

func (c *copies) row(title string) *row {
	r := &row{title: title, costs: map[string][]cost{}}
	c.rows = append(c.rows, r)
	return r
}

func (r *row) add(variant string, x cost) {
	if r.costs[variant] == nil {
		r.order = append(r.order, variant)
	}
	r.costs[variant] = append(r.costs[variant], x)
	fmt.Fprintf(os.Stderr, "%s: %s: %.2f s, %.0f MB\n", r.title, variant, x.seconds, x.wire/1e6)
}

// paired is the median over the rounds of one figure to another's.
func paired(a, b []cost, of func(cost) float64) float64 {
	var all []float64
	for i := range a {
		all = append(all, of(a[i])/of(b[i]))
	}
	return median(all)
}

// ratio is the median over the rounds of one variant's figure to another's.
func (r *row) ratio(a, b string, of func(cost) float64) float64 {
	return paired(r.costs[a], r.costs[b], of)
}

func (r *row) median(variant string, of func(cost) float64) float64 {
	var all []float64
	for _, x := range r.costs[variant] {
		all = append(all, of(x))
	}
	return median(all)
}

func took(x cost) float64   { return x.seconds }
func wire(x cost) float64   { return x.wire }
func copied(x cost) float64 { return x.wire - x.wal }

// variant is one way to do the work of a row.
type variant struct {
	name string
	on   string // the target
	do   func(context.Context) error
	// after takes away what it made. It is not in the time.
	after func(context.Context) error
}

// round runs each variant once, beginning with another one each round.
func (c *copies) round(ctx context.Context, r *row, n int, list []variant) error {
	for i := range list {
		v := list[(i+n)%len(list)]
		x, err := c.timed(ctx, v.on, v.do)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		r.add(v.name, x)
		if v.after != nil {
			if err := v.after(ctx); err != nil {
				return fmt.Errorf("after %s: %w", v.name, err)
			}
		}
	}
	return nil
}

// timed: the time does not have to pay for what was written before. What a variant
// writes it must sync itself.
func (c *copies) timed(ctx context.Context, target string, do func(context.Context) error) (cost, error) {
	if err := c.warm(); err != nil {
		return cost{}, fmt.Errorf("fill the page cache: %w", err)
	}
	if err := c.sh(ctx, target, "root", "sync -f "+filepath.Dir(c.files.Data)); err != nil {
		return cost{}, err
	}
	before, err := c.received(ctx, target)
	if err != nil {
		return cost{}, err
	}
	began := time.Now()
	if err := do(ctx); err != nil {
		return cost{}, err
	}
	x := cost{seconds: seconds(time.Since(began))}
	after, err := c.received(ctx, target)
	x.wire = float64(after - before)
	return x, err
}

// received is the number of bytes that came in by a host's network.
func (c *copies) received(ctx context.Context, host string) (int64, error) {
	out, err := c.lab.Exec(ctx, host, []string{"cat", "/sys/class/net/eth0/statistics/rx_bytes"}, "")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(out), 10, 64)
}

// tool is a call that makes a standby, and its report.
func (c *copies) tool(r *runReport, args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		*r = runReport{}
		_, memory, err := c.call(ctx, r, append(args, "--yes", "-q", "-o", "json")...)
		c.peak = max(c.peak, memory)
		if err != nil {
			return err
		}
		parts, err := c.parts(r.Run)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  %s: %s\n", strings.Join(args, " "), parts)
		return nil
	}
}

// parts says where the time of a run went: the acts that took longest, as its journal has them.
func (c *copies) parts(run string) (string, error) {
	records, err := c.journal(run)
	if err != nil {
		return "", err
	}
	begun := map[int]journal.Record{}
	var said []string
	acts := 0.0
	for _, r := range records {
		begun[r.Seq] = r
		if r.Type != journal.Done {
			continue
		}
		span := seconds(r.At.Sub(begun[r.Of].At))
		acts += span
		if words := strings.Fields(begun[r.Of].Text); span >= 0.1 {
			said = append(said, fmt.Sprintf("%.2f %s", span, strings.Join(words[:min(3, len(words))], " ")))
		}
	}
	whole := seconds(records[len(records)-1].At.Sub(records[0].At))
	return fmt.Sprintf("%s; %.2f between acts", strings.Join(said, ", "), whole-acts), nil
}

func (c *copies) journal(run string) ([]journal.Record, error) {
	files, err := filepath.Glob(filepath.Join(c.state, "runs", "pgrepctl", "*", run+".jsonl"))
	if err != nil || len(files) != 1 {
		return nil, errors.Join(err, fmt.Errorf("%d journals of run %s", len(files), run))
	}
	return journal.Read(files[0])
}

// copying is when the bytes of a run came.
func (c *copies) copying(run string) (from, to time.Time, err error) {
	records, err := c.journal(run)
	if err != nil {
		return from, to, err
	}
	begun := map[int]journal.Record{}
	for _, r := range records {
		begun[r.Seq] = r
		if of := begun[r.Of]; r.Type == journal.Done && of.Effect == "copy" {
			return of.At, r.At, nil
		}
	}
	return from, to, fmt.Errorf("run %s has copied nothing", run)
}

// undone takes back what a run did.
func (c *copies) undone(r *runReport) func(context.Context) error {
	return func(ctx context.Context) error {
		_, _, err := c.call(ctx, nil, "runs", "undo", r.Run, "--yes", "-q")
		return err
	}
}

// emptied makes a target what it was before, by hand.
func (c *copies) emptied(host string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.stopped(ctx, host); err != nil {
			return err
		}
		return c.sh(ctx, host, "root", "! test -d "+c.files.Data+" || find "+c.files.Data+" -mindepth 1 -delete")
	}
}

func (c *copies) stopped(ctx context.Context, host string) error {
	return c.sh(ctx, host, "postgres", "! test -e "+c.files.Data+"/postmaster.pid || "+c.pgCtl("-s -w -m fast stop"))
}

// stale makes what the tool's target holds useless as it is: its server is down, and its
// slot was dropped, as by an operator whose disk was filling up.
func (c *copies) stale(ctx context.Context) error {
	if err := c.stopped(ctx, ours); err != nil {
		return err
	}
	names, err := c.ask(ctx, source, "postgres", "select slot_name from pg_replication_slots")
	if err != nil {
		return err
	}
	for name := range strings.Lines(names) {
		if err := c.dropSlot(ctx, strings.TrimSpace(name)); err != nil {
			return err
		}
	}
	return nil
}

// cleared takes a standby of the tool away that no run can take back.
func (c *copies) cleared(ctx context.Context) error {
	if err := c.stale(ctx); err != nil {
		return err
	}
	return c.emptied(ours)(ctx)
}

func (c *copies) pgCtl(what string) string {
	return fmt.Sprintf("%s/pg_ctl -D %s -l %s %s", c.files.Bin, c.files.Data, c.files.Log, what)
}

func (c *copies) psql(ctx context.Context, host, database, sql string) error {
	_, err := c.ask(ctx, host, database, sql)
	return err
}

func (c *copies) ask(ctx context.Context, host, database, sql string) (string, error) {
	out, err := c.lab.Exec(ctx, host, []string{"runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database}, sql)
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", host, sql, err)
	}
	return strings.TrimSpace(out), nil
}

// lastRun is the newest run in the journals.
func (c *copies) lastRun(ctx context.Context) (string, error) {
	var list struct {
		Runs []struct {
			ID string `json:"id"`
		} `json:"runs"`
	}
	if _, _, err := c.call(ctx, &list, "runs", "list", "-o", "json"); err != nil {
		return "", err
	}
	if len(list.Runs) == 0 {
		return "", errors.New("no run is in the journals")
	}
	return list.Runs[len(list.Runs)-1].ID, nil
}

// broken starts a call of the tool and kills it when its target has received so
// many bytes.
func (c *copies) broken(ctx context.Context, bytes int64, args ...string) error {
	before, err := c.received(ctx, ours)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.bin, append([]string{"-i", c.lab.InventoryPath()}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(c.state, "runs"))
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	reached := make(chan error, 1)
	go func() {
		reached <- c.sh(waiting, ours, "root", fmt.Sprintf("until [ $(cat /sys/class/net/eth0/statistics/rx_bytes) -ge %d ]; do sleep 0.02; done", before+bytes))
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("pgrepctl %s ended before it was to be broken off: %v", strings.Join(args, " "), err)
	case err := <-reached:
		if err != nil {
			return err
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-ended
	return c.settled(ctx)
}

// settled waits until nothing of a broken run is under way on the target.
func (c *copies) settled(ctx context.Context) error {
	return c.sh(ctx, ours, "root", "while pgrep -x rsync >/dev/null; do sleep 0.05; done")
}

var errNoRow = errors.New("no such row")

// run does the rows, or the one that is asked for, and writes what they cost.
func (c *copies) run(ctx context.Context, only string) error {
	rows := []struct {
		name string
		do   func(context.Context) error
	}{
		{"empty", c.empty}, {"text", c.text}, {"load", c.load}, {"files", c.manyFiles}, {"seed", c.seed}, {"link", c.link}, {"20g", c.underLoad},
	}
	if err := c.preparePeers(ctx); err != nil {
		return err
	}
	found := false
	for _, r := range rows {
		if only == "" && r.name == "20g" || only != "" && only != r.name {
			continue
		}
		found = true
		began := time.Now()
		if err := r.do(ctx); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
		fmt.Fprintf(os.Stderr, "row %s took %.0f s\n", r.name, seconds(time.Since(began)))
	}
	if !found {
		return fmt.Errorf("%w: %s", errNoRow, only)
	}
	if c.peak > 0 {
		c.report.AtMost("peak memory of the tool, all runs but those of many files", float64(c.peak)/(1<<20), "MiB", 64)
	}
	return nil
}
