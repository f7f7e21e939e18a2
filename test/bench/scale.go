package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// status1000 is status of many hosts. They are as many SSH servers in one other process,
// which takes its share of this machine's cores: the times are those of both.
func (b *bench) status1000(ctx context.Context) error {
	if _, _, err := b.call(ctx, nil, "standby", "bootstrap", "h3", "--yes", "-q"); err != nil {
		return err
	}
	dir := filepath.Join(b.state, "fleet")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const most = 1000
	fleet := exec.CommandContext(ctx, self, "-fleet", strconv.Itoa(most), "-fleet-dir", dir, "-fleet-lab", filepath.Join(b.state, "lab")+":"+b.lab.Name)
	fleet.Stderr = os.Stderr
	end, err := fleet.StdinPipe()
	if err != nil {
		return err
	}
	out, err := fleet.StdoutPipe()
	if err != nil {
		return err
	}
	if err := fleet.Start(); err != nil {
		return err
	}
	defer func() { _ = end.Close(); _ = fleet.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start the fleet: %w", err)
	}
	port := strings.TrimSpace(line)
	if _, err := b.fleetStatus(ctx, dir, port, 2); err != nil { // it records
		return err
	}
	var ratios, ones, hundreds []float64
	for range max(b.rounds, 5) {
		one, err := b.fleetStatus(ctx, dir, port, 1)
		if err != nil {
			return err
		}
		hundred, err := b.fleetStatus(ctx, dir, port, 100)
		if err != nil {
			return err
		}
		ones, hundreds = append(ones, seconds(one.took)), append(hundreds, seconds(hundred.took))
		ratios = append(ratios, seconds(hundred.took)/seconds(one.took))
	}
	thousand, err := b.fleetStatus(ctx, dir, port, most)
	if err != nil {
		return err
	}
	b.report.Note("status of 1 host at 5 ms, cold, median", median(ones), "s")
	b.report.Note("status of 100 hosts at 5 ms, cold, median", median(hundreds), "s")
	b.report.AtMost("status of 100 hosts / of 1 host, median of paired rounds", median(ratios), "x", 5)
	b.report.AtMost("status of 1000 hosts at 5 ms, cold", seconds(thousand.took), "s", 20)
	b.report.Note("status of 1000 hosts, processor time of the tool and its ssh -G", seconds(thousand.cpu), "s")
	b.report.AtMost("status of 1000 hosts, peak memory of the tool", float64(thousand.memory)/(1<<20), "MiB", 200)
	return nil
}

// usage is what one call took.
type usage struct {
	took, cpu time.Duration
	memory    int64 // bytes, at its peak
}

// fleetStatus is one status of the first n hosts of the fleet. All of them must
// answer.
func (b *bench) fleetStatus(ctx context.Context, dir, port string, n int) (usage, error) {
	var y strings.Builder
	fmt.Fprintf(&y, `cluster: fleet%d
postgres:
  version: 15
  data_directory: /var/lib/postgresql/15/main
  config_directory: /etc/postgresql/15/main
ssh: {user: admin, port: %s, identity_file: [%s], known_hosts: [%s]}
hosts:
`, n, port, filepath.Join(dir, "id"), filepath.Join(dir, "known_hosts"))
	for i := range n {
		role := "standby"
		if i == 0 {
			role = "primary"
		}
		fmt.Fprintf(&y, "  pg%d: {address: %s, role: %s}\n", i, fleetAddress(i), role)
	}
	file := filepath.Join(dir, fmt.Sprintf("fleet%d.yaml", n))
	if err := os.WriteFile(file, []byte(y.String()), 0o600); err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, b.bin, "-i", file, "status", "-o", "json")
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(b.state, "runs"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	start := time.Now()
	peak, err := runWatched(cmd)
	if err != nil {
		return usage{}, fmt.Errorf("status of %d hosts: %w\n%s", n, err, errs.String())
	}
	u := usage{took: time.Since(start), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), memory: peak}
	var r struct {
		Hosts []struct {
			Host    string `json:"host"`
			Version string `json:"version"`
			Notes   []struct {
				Text string `json:"text"`
			} `json:"notes"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return usage{}, err
	}
	if len(r.Hosts) != n {
		return usage{}, fmt.Errorf("status of %d hosts told of %d", n, len(r.Hosts))
	}
	for _, h := range r.Hosts {
		if h.Version == "" {
			return usage{}, fmt.Errorf("status of %d hosts: %s: nothing of its server: %v", n, h.Host, h.Notes)
		}
	}
	return u, nil
}
