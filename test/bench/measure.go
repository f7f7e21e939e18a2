package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
	"github.com/pgrepctl/pgrepctl/test/figures"
)

type bench struct {
	lab    *lab.Lab
	bin    string
	state  string
	rounds int
	scale  int // of pgbench, for the memory measurement: 15 MB each
	report figures.Report
}

// report is the part of a run's report that is measured.
type runReport struct {
	Outputs     map[string]string `json:"outputs"`
	Connections map[string]int    `json:"connections"`
	Run         string            `json:"run"`
}

// call runs the tool as a user would; it returns wall time and peak memory.
func (b *bench) call(ctx context.Context, into any, args ...string) (time.Duration, int64, error) {
	cmd := exec.CommandContext(ctx, b.bin, append([]string{"-i", b.lab.InventoryPath()}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(b.state, "runs"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	peak, err := runWatched(cmd)
	took := time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("pgrepctl %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	if into != nil {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			return 0, 0, fmt.Errorf("pgrepctl %s: %w", strings.Join(args, " "), err)
		}
	}
	return took, peak, nil
}

// runWatched runs a command to its end, and gives the peak of its resident set in bytes. What wait4
// tells of it would not do: there the memory counts, too, that the process had before its exec,
// which is the whole of this one's.
func runWatched(cmd *exec.Cmd) (peak int64, _ error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return peak, err
		case <-tick.C:
			peak = max(peak, highWater(cmd.Process.Pid))
		}
	}
}

// highWater is the most that a process had resident so far, in bytes; 0 when it has ended.
func highWater(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib int64
	if n, _ := fmt.Sscan(rest, &kib); n != 1 {
		return 0
	}
	return kib << 10
}

func (b *bench) sh(ctx context.Context, host, as, script string) error {
	out, err := b.lab.Exec(ctx, host, []string{"su", as, "-c", script}, "")
	if err != nil {
		return fmt.Errorf("%s: %s: %w\n%s", host, script, err, out)
	}
	return nil
}

// startUp: a tool that is called from scripts must not be slow to begin.
func (b *bench) startUp(ctx context.Context) error {
	var ms []float64
	for range 20 {
		start := time.Now()
		if err := exec.CommandContext(ctx, b.bin, "version").Run(); err != nil {
			return fmt.Errorf("pgrepctl version: %w", err)
		}
		ms = append(ms, seconds(time.Since(start))*1000)
	}
	b.report.AtMost("start-up of the binary, median of 20", median(ms), "ms", 50)
	return nil
}

// prepare lets a standby be made by hand as well.
func (b *bench) prepare(ctx context.Context) error {
	return b.sh(ctx, "h1", "postgres", `psql -qXc "create role byhand login replication" &&
		echo "hostssl replication byhand 10.77.0.0/24 trust" >> $(psql -XAtqc "show hba_file") && psql -qXAtc "select pg_reload_conf()" >/dev/null`)
}

const emptied = `pg_ctlcluster 15 main stop -m fast; find /var/lib/postgresql/15/main -mindepth 1 -delete`

func (b *bench) byHand(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := b.sh(ctx, "h2", "postgres", `pg_basebackup -h 10.77.0.11 -U byhand -D /var/lib/postgresql/15/main -R -C -S byhand -c fast && pg_ctlcluster 15 main start`)
	took := time.Since(start)
	if err != nil {
		return 0, err
	}
	if err := b.sh(ctx, "h2", "postgres", emptied); err != nil {
		return 0, err
	}
	return took, b.dropSlot(ctx, "byhand")
}

func (b *bench) dropSlot(ctx context.Context, slot string) error {
	return b.sh(ctx, "h1", "postgres", fmt.Sprintf(`for i in $(seq 100); do psql -qXAtc "select pg_drop_replication_slot('%s')" >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1`, slot))
}

// bootstrap of an empty cluster, paired with the same by hand.
func (b *bench) bootstrap(ctx context.Context) error {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var ratios, extra, hand, ours []float64
	most := 0
	for range b.rounds {
		byHand, err := b.byHand(ctx)
		if err != nil {
			return err
		}
		var r runReport
		took, _, err := b.call(ctx, &r, "standby", "bootstrap", "h2", "--yes", "-q", "-o", "json")
		if err != nil {
			return err
		}
		var rsync float64
		if _, err := fmt.Sscan(r.Outputs["copy.seconds.main"], &rsync); err != nil {
			return fmt.Errorf("time inside rsync: %w", err)
		}
		for _, n := range r.Connections {
			most = max(most, n)
		}
		hand, ours = append(hand, seconds(byHand)), append(ours, seconds(took))
		ratios, extra = append(ratios, seconds(took)/seconds(byHand)), append(extra, seconds(took)-rsync)
		if _, _, err := b.call(ctx, nil, "runs", "undo", r.Run, "--yes", "-q"); err != nil {
			return err
		}
	}
	b.report.Note("pg_basebackup and start by hand, empty cluster, median", median(hand), "s")
	b.report.Note("standby bootstrap, empty cluster, median", median(ours), "s")
	b.report.AtMost("standby bootstrap / by hand, median of paired rounds", median(ratios), "x", 2.5)
	b.report.AtMost("standby bootstrap beyond the time inside rsync, median", median(extra), "s", 5)
	b.report.AtMost("TCP connections of one bootstrap, busiest host", float64(most), "count", 2)
	return nil
}

// status of all three hosts, cold: a new process, new connections.
func (b *bench) status(ctx context.Context) error {
	var s []float64
	for range max(b.rounds, 5) {
		took, _, err := b.call(ctx, nil, "status")
		if err != nil {
			return err
		}
		s = append(s, seconds(took))
	}
	b.report.AtMost("status of 3 hosts, cold, median", median(s), "s", 1)
	return nil
}

// memory: the bytes of the copy do not pass through the tool.
func (b *bench) memory(ctx context.Context) error {
	if err := b.sh(ctx, "h1", "postgres", fmt.Sprintf("createdb big && pgbench -q -i -s %d big >/dev/null 2>&1", b.scale)); err != nil {
		return err
	}
	var r runReport
	took, peak, err := b.call(ctx, &r, "standby", "bootstrap", "h3", "--yes", "-q", "-o", "json")
	if err != nil {
		return err
	}
	b.report.Note(fmt.Sprintf("standby bootstrap of %d MB", b.scale*15), seconds(took), "s")
	b.report.AtMost(fmt.Sprintf("peak memory of the tool while %d MB are copied", b.scale*15), float64(peak)/(1<<20), "MiB", 64)
	return nil
}
