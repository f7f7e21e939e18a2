package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Run runs argv as root on a host, without SSH: it works when the host's cable
// is cut. The environment is clean. A command that ended with another status
// than 0 gives a *host.ExitError.
func (l *Lab) Run(ctx context.Context, hostName string, argv []string, stdio host.Stdio) error {
	h, err := l.host(hostName)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		return &fault.Error{Class: fault.Usage, Host: h.Name, Err: errors.New("no command")}
	}
	return l.script(ctx, h.Name, host.Cmd{Argv: argv, As: "root"}, stdio, append([]string{"exec", h.Name}, argv...)...)
}

// Exec is Run with a text for stdin; it returns stdout.
func (l *Lab) Exec(ctx context.Context, hostName string, argv []string, stdin string) (string, error) {
	var out bytes.Buffer
	err := l.Run(ctx, hostName, argv, host.Stdio{In: strings.NewReader(stdin), Out: &out})
	return out.String(), err
}

// Start switches a host on, with the disk that it had. It returns when sshd
// listens and the clusters that start at boot (start.conf says auto) are
// started or have failed to.
func (l *Lab) Start(ctx context.Context, hostName string) error {
	h, err := l.host(hostName)
	if err != nil {
		return err
	}
	return l.act(ctx, "switch on", h, "boot", h.Name, h.Address.String(), h.mac())
}

// Kill takes a host's power away: all its processes end at once, unsynced, and
// its peers hear nothing. A host that is off stays off.
func (l *Lab) Kill(ctx context.Context, hostName string) error {
	return l.actOn(ctx, "switch off", "off", hostName)
}

// Cut pulls a host's network cable.
func (l *Lab) Cut(ctx context.Context, hostName string) error {
	return l.actOn(ctx, "cut cable", "cut", hostName)
}

// Heal plugs it in again.
func (l *Lab) Heal(ctx context.Context, hostName string) error {
	return l.actOn(ctx, "heal cable", "heal", hostName)
}

// Freeze stops all processes of a host. Its kernel still accepts connections,
// and nothing answers on them: the hung host.
func (l *Lab) Freeze(ctx context.Context, hostName string) error {
	return l.actOn(ctx, "freeze", "freeze", hostName)
}

// Thaw lets them go on.
func (l *Lab) Thaw(ctx context.Context, hostName string) error {
	return l.actOn(ctx, "thaw", "thaw", hostName)
}

// Slow limits a host's network to a rate in both directions, in the words of
// tc(8): "1mbit". An empty rate removes the limit.
func (l *Lab) Slow(ctx context.Context, hostName, rate string) error {
	return l.actOn(ctx, "slow down", "slow", hostName, rate)
}

// Part drops all packets between two hosts; both still reach the others.
func (l *Lab) Part(ctx context.Context, a, b string) error {
	ha, err := l.host(a)
	if err != nil {
		return err
	}
	hb, err := l.host(b)
	if err != nil {
		return err
	}
	if ha == hb {
		return &fault.Error{Class: fault.Usage, Host: a, Err: errors.New("part a host from itself")}
	}
	return l.act(ctx, "part", ha, "part", ha.Address.String(), hb.Address.String())
}

// Join undoes all Parts.
func (l *Lab) Join(ctx context.Context) error {
	return l.act(ctx, "join", Host{}, "join")
}

// Status is what one host of a lab is like.
type Status struct {
	Host
	Power  string   `json:"power"`            // on, off or frozen
	Cable  string   `json:"cable"`            // whole or cut
	Rate   string   `json:"rate,omitempty"`   // limit set by Slow
	Parted []string `json:"parted,omitempty"` // names of hosts it is parted from
}

// Status tells how the hosts are, in order.
func (l *Lab) Status(ctx context.Context) ([]Status, error) {
	argv := []string{"status"}
	for _, h := range l.Machines {
		argv = append(argv, h.Name)
	}
	var out bytes.Buffer
	if err := l.script(ctx, "", host.Cmd{Argv: argv}, host.Stdio{Out: &out}, argv...); err != nil {
		return nil, fmt.Errorf("read status: %w", err)
	}
	status := make([]Status, len(l.Machines))
	index := map[string]int{}
	for i, h := range l.Machines {
		status[i].Host = h
		index[h.Name], index[h.Address.String()] = i, i
	}
	for line := range strings.Lines(out.String()) {
		switch f := strings.Fields(line); {
		case len(f) == 5 && f[0] == "host":
			s := &status[index[f[1]]]
			s.Power, s.Cable, s.Rate = f[2], f[3], strings.TrimPrefix(f[4], "-")
		case len(f) == 3 && f[0] == "parted":
			for _, pair := range [][2]string{{f[1], f[2]}, {f[2], f[1]}} {
				if _, err := netip.ParseAddr(pair[0]); err != nil {
					return nil, fmt.Errorf("read status: %w", err)
				}
				s := &status[index[pair[0]]]
				if other := l.Machines[index[pair[1]]].Name; !slices.Contains(s.Parted, other) {
					s.Parted = append(s.Parted, other)
				}
			}
		default:
			return nil, fmt.Errorf("read status: unexpected line %q", line)
		}
	}
	for _, s := range status {
		slices.SortFunc(s.Parted, func(a, b string) int { return cmp.Compare(index[a], index[b]) })
	}
	return status, nil
}

func (l *Lab) actOn(ctx context.Context, what, verb, hostName string, args ...string) error {
	h, err := l.host(hostName)
	if err != nil {
		return err
	}
	return l.act(ctx, what, h, append([]string{verb, h.Name}, args...)...)
}

// act runs a verb of host.sh that has no output.
func (l *Lab) act(ctx context.Context, what string, h Host, args ...string) error {
	err := l.script(ctx, h.Name, host.Cmd{Argv: args}, host.Stdio{}, args...)
	if err == nil {
		return nil
	}
	return &fault.Error{Class: fault.ClassOf(err), Host: h.Name, Op: what, Err: err, Stderr: host.Tail(host.StderrOf(err), 10)}
}

// script runs scripts/host.sh inside the machine.
func (l *Lab) script(ctx context.Context, hostName string, c host.Cmd, stdio host.Stdio, args ...string) error {
	cmd, err := l.enter(ctx, append([]string{"sh", filepath.Join(l.dir, "host.sh")}, args...)...)
	if err != nil {
		return err
	}
	// A process that escaped pdeathsig may hold the output open.
	cmd.WaitDelay = 5 * time.Second
	var tail tailWriter
	cmd.Stdin, cmd.Stdout = stdio.In, stdio.Out
	cmd.Stderr = &tail
	if stdio.Err != nil {
		cmd.Stderr = io.MultiWriter(stdio.Err, &tail)
	}
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", c.Argv[0], ctx.Err())
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &host.ExitError{Host: hostName, Cmd: c, Code: exit.ExitCode(), Signal: signalOf(exit.ProcessState), Stderr: tail.String()}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", c.Argv[0], err)
	}
	return nil
}

// tailWriter keeps the last 64 KiB.
type tailWriter struct{ b []byte }

const tailSize = 64 << 10

func (t *tailWriter) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailSize {
		t.b = append([]byte(nil), t.b[len(t.b)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tailWriter) String() string { return string(t.b[max(0, len(t.b)-tailSize):]) }
