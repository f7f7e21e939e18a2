package lab

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

func TestSystemdBootsTheHost(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Systemd: true})
	for _, h := range []string{"h1", "h2"} {
		if got := in(t, l, h, "systemctl", "is-system-running", "--wait"); got != "running" {
			t.Errorf("%s: systemd says %q", h, got)
		}
	}
	if got := in(t, l, "h1", "cat", "/proc/1/comm"); got != "systemd" {
		t.Errorf("PID 1 is %q", got)
	}
	for _, user := range []string{"admin", "postgres", "root"} {
		c, err := login(t, l, "h2", user)
		do(t, err)
		// With a logind, as on a server, the login is not in the group of sshd.
		if got := remote(t, c, "id -un; hostname; grep -o 'user-.*/session-' /proc/self/cgroup | cut -c1-5"); got != user+"\nh2\nuser-" {
			t.Errorf("logged in as %q", got)
		}
	}
	c, err := login(t, l, "h1", "admin")
	do(t, err)
	if got := remote(t, c, "sudo -n systemctl restart ssh; sudo -n systemctl is-active ssh"); got != "active" {
		t.Errorf("sshd is %q", got)
	}
	// The two systemds do not see each other, and systemctl sees nothing strange.
	in(t, l, "h1", "systemd-run", "--unit", "mine", "sleep", "1000")
	status, err := l.Exec(t.Context(), "h1", []string{"sh", "-c", "systemctl status --no-pager 2>&1"}, "")
	do(t, err)
	if !strings.Contains(status, "mine.service") || strings.Contains(status, "Failed") && !strings.Contains(status, "Failed: 0 units") {
		t.Errorf("status of h1:\n%s", status)
	}
	if got := in(t, l, "h2", "systemctl", "show", "-p", "LoadState", "mine"); got != "LoadState=not-found" {
		t.Errorf("h2 knows the unit of h1: %s", got)
	}
	// What is not its own it cannot change.
	if _, err := l.Exec(t.Context(), "h1", []string{"sysctl", "-q", "kernel.panic=60"}, ""); err == nil {
		t.Error("a host changed the machine's kernel")
	}
	_, err = l.Exec(t.Context(), "h1", []string{"sh", "-c", "echo why >&2; exit 7"}, "")
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || exit.Stderr != "why\n" {
		t.Errorf("exit: %#v", err)
	}
}

func TestSystemdHostTakesAllFaults(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Systemd: true})
	ctx := t.Context()
	reaches := func(from, to string) bool {
		_, err := l.Exec(ctx, from, []string{"timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/" + to + "/22"}, "")
		return err == nil
	}
	machineID := in(t, l, "h1", "sh", "-c", "echo kept >/root/file; cat /etc/machine-id")

	do(t, l.Part(ctx, "h1", "h2"))
	if reaches("h1", "h2") {
		t.Error("parted hosts reach each other")
	}
	do(t, l.Join(ctx))
	do(t, l.Cut(ctx, "h2"))
	if reaches("h1", "h2") {
		t.Error("a host without cable answers")
	}
	do(t, l.Heal(ctx, "h2"))
	do(t, l.Slow(ctx, "h2", "100mbit"))
	do(t, l.Slow(ctx, "h2", ""))
	if !reaches("h1", "h2") {
		t.Error("healed, and not reached")
	}

	// A unit with a network namespace of its own is frozen and killed too.
	in(t, l, "h2", "systemd-run", "-p", "PrivateNetwork=yes", "sh", "-c", "while :; do echo >>/root/ticks; sleep 0.02; done")
	ticks := func() int64 {
		info, err := os.Stat(filepath.Join(l.Disks, "h2/upper/root/ticks"))
		if err != nil {
			return 0
		}
		return info.Size()
	}
	await(t, "the unit to tick", func() bool { return ticks() > 0 })
	do(t, l.Freeze(ctx, "h2"))
	conn, err := l.DialContext(ctx, "tcp", "h2:22")
	do(t, err)
	defer conn.Close()
	was := ticks()
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || ticks() != was {
		t.Errorf("a frozen host sent %d bytes (%v), and ticked from %d to %d", n, err, was, ticks())
	}
	status, err := l.Status(ctx)
	do(t, err)
	if diff := cmp.Diff([]string{"on", "frozen"}, []string{status[0].Power, status[1].Power}); diff != "" {
		t.Error(diff)
	}
	do(t, l.Thaw(ctx, "h2"))
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "SSH-2.0-") {
		t.Errorf("after thaw: %q %v", line, err)
	}
	// Frozen, it loses its power all the same.
	do(t, l.Freeze(ctx, "h2"))
	do(t, l.Kill(ctx, "h2"))
	do(t, l.Kill(ctx, "h2"))
	if exists(l.Cgroup, "h2") {
		t.Error("a host that is off has a control group")
	}
	do(t, l.Start(ctx, "h2"))

	do(t, l.Kill(ctx, "h1"))
	do(t, l.Start(ctx, "h1"))
	if got := in(t, l, "h1", "cat", "/root/file", "/etc/machine-id"); got != "kept\n"+machineID {
		t.Errorf("after the power cut: %q", got)
	}
	// A host that switches itself off is off.
	_, _ = l.Exec(ctx, "h1", []string{"systemctl", "poweroff"}, "")
	await(t, "h1 to be off", func() bool {
		status, err := l.Status(ctx)
		return err == nil && status[0].Power == "off"
	})
	do(t, l.Start(ctx, "h1"))
	in(t, l, "h1", "true")
}

func TestSystemdIsGoneAfterDown(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Systemd: true})
	in(t, l, "h1", "systemd-run", "-p", "PrivateNetwork=yes", "-p", "PrivateTmp=yes", "sleep", "1000")
	do(t, l.Freeze(t.Context(), "h2"))
	if !exists(l.Cgroup, "h2", "cgroup.procs") {
		t.Fatalf("the hosts are not in %s", l.Cgroup)
	}
	namespaces := namespacesOf(t, l)
	do(t, l.Down(t.Context()))
	nothingLeft(t, l.dir, namespaces)
	if exists(l.Cgroup) {
		t.Errorf("%s is left", l.Cgroup)
	}
}

// Whenever up is killed, the lab ends by itself, with its control groups.
func TestKilledUpLeavesNothingOfSystemd(t *testing.T) {
	t.Parallel()
	needHosts(t)
	for name, reached := range map[string]func(dir, disks, cgroup string) bool{
		"control group": func(_, _, cgroup string) bool { return exists(cgroup, "h1") },
		"systemd":       func(_, _, cgroup string) bool { return exists(cgroup, "h1/system.slice") },
		"postmaster": func(_, disks, _ string) bool {
			return exists(disks, "h1/upper/var/lib/postgresql/15/main/postmaster.pid")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, parent := t.TempDir(), t.TempDir()
			dir := filepath.Join(state, DefaultName)
			cgroup, err := planCgroup(dir)
			do(t, err)
			self, err := os.Executable()
			do(t, err)
			cmd := exec.Command(self, "lab", "up", state, parent, "systemd")
			cmd.Stderr = os.Stderr
			do(t, cmd.Start())
			await(t, name, func() bool { return reached(dir, filepath.Join(parent, "pgrepctl-lab-"+DefaultName), cgroup) })
			do(t, cmd.Process.Kill())
			_ = cmd.Wait()
			await(t, "all of the lab to end", func() bool { return len(running(dir)) == 0 && !exists(cgroup) })
			do(t, Down(context.Background(), state, DefaultName))
			nothingLeft(t, dir, nil)
		})
	}
}

// The machine's PID 1 of the lab cannot clean up when it is what was killed.
func TestSystemdOfAKilledLabIsGoneAfterDown(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1, Systemd: true})
	pid, err := l.pid1()
	do(t, err)
	do(t, killAndWait(t.Context(), pid))
	if !exists(l.Cgroup, "h1") {
		t.Fatal("nothing is left to clean up")
	}
	do(t, Down(t.Context(), filepath.Dir(l.dir), l.Name))
	if exists(l.Cgroup) {
		t.Errorf("%s is left", l.Cgroup)
	}
}

func TestSystemdRunsTheCluster(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 2, Systemd: true, Cluster: true})
	state := func(name string) string {
		return in(t, l, name, "systemctl", "show", "--value", "-p", "ActiveState", "postgresql@15-main")
	}
	if got := state("h1") + " " + state("h2"); got != "active inactive" {
		t.Errorf("units of h1 and h2: %s", got)
	}
	sql(t, l, "h1", "create table t as select 1 as i")
	do(t, l.Kill(t.Context(), "h1"))
	do(t, l.Kill(t.Context(), "h2"))
	do(t, l.Start(t.Context(), "h1"))
	if got := sql(t, l, "h1", "select i from t"); got != "1" || state("h1") != "active" {
		t.Errorf("after the power cut: %q, unit %s", got, state("h1"))
	}
	// A standby that cannot start does not keep its host from booting.
	do(t, l.Start(t.Context(), "h2"))
}

// Only in the run that TestAPlainUserHasALabToo makes.
func TestAPlainUserHasNoSystemdHosts(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("is for a plain user")
	}
	state := t.TempDir()
	_, err := Up(t.Context(), Options{State: state, Systemd: true})
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Refused || !strings.Contains(err.Error(), "only root") || f.Hint == "" {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(state); err != nil || len(entries) > 0 {
		t.Errorf("it began: %v %v", entries, err)
	}
}

func TestControlGroupsAreFoundWhereverTheyAreMounted(t *testing.T) {
	t.Parallel()
	for want, mountinfo := range map[string]string{
		"/sys/fs/cgroup":         "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
		"/sys/fs/cgroup/unified": "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
		"":                       "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n33 30 0:28 /docker/x /mnt rw - cgroup2 cgroup2 rw\n",
	} {
		if got := cgroupRoot(mountinfo); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSystemdHasARootOfItsOwn(t *testing.T) {
	t.Parallel()
	plain, booted := planRootfs("/c", "bookworm", "15"), planSystemdRootfs("/c", "bookworm", "15")
	if plain.dir == booted.dir || !strings.Contains(booted.dir, "/bookworm-systemd-") {
		t.Errorf("%s and %s", plain.dir, booted.dir)
	}
}

func TestHostsWithMorePackagesHaveARootOfTheirOwn(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]func(string, string, string, ...string) *rootfs{"plain": planRootfs, "booted": planSystemdRootfs} {
		few, more := plan("/c", "bookworm", "15"), plan("/c", "bookworm", "15", "pgbackrest")
		if few.dir == more.dir || !slices.Contains(more.packages, "pgbackrest") || slices.Contains(few.packages, "pgbackrest") {
			t.Errorf("%s: %s and %s", name, few.dir, more.dir)
		}
	}
}
