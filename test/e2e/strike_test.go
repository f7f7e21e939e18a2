package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// strike is one thing that can happen to a run at any moment.
type strike struct {
	name string
	// hit happens while the tool stands still, so that it comes between two
	// of its acts or in the midst of one, and nowhere else.
	hit func(t *testing.T, s *site, c *calling)
	// mend is what an operator does before he resumes; nil is nothing.
	mend func(t *testing.T, s *site)
	// possible is nil for every moment.
	possible func(moment) bool
	// mute: nobody is told, only missed keepalives tell.
	mute bool
	// back: the run is undone afterwards, and not resumed.
	back bool
}

func strikes() []strike {
	kill := func(_ *testing.T, _ *site, c *calling) { _ = c.cmd.Process.Kill() }
	cut := func(name string) func(*testing.T, *site, *calling) {
		return func(t *testing.T, s *site, _ *calling) { s.do(t, s.lab.Cut(t.Context(), name)) }
	}
	heal := func(name string) func(*testing.T, *site) {
		return func(t *testing.T, s *site) { s.do(t, s.lab.Heal(t.Context(), name)) }
	}
	return []strike{
		{name: "tool killed", hit: kill},
		{name: "tool killed, undone", hit: kill, back: true},
		{name: "SSH to primary cut", hit: cutLogins("h1")},
		{name: "SSH to standby cut", hit: cutLogins("h2")},
		{name: "cable of primary", hit: cut("h1"), mend: heal("h1"), mute: true},
		{name: "cable of standby", hit: cut("h2"), mend: heal("h2"), mute: true},
		{name: "postmaster of primary killed", hit: func(t *testing.T, s *site, _ *calling) { s.crash(t) }},
		{name: "rsync killed", possible: moment.copies, hit: func(t *testing.T, s *site, _ *calling) { s.at(t, "h2", "pkill -KILL -x rsync || true") }},
	}
}

// cutLogins ends the SSH sessions of a host.
func cutLogins(name string) func(*testing.T, *site, *calling) {
	return func(t *testing.T, s *site, _ *calling) { s.at(t, name, "pkill -KILL -f '^sshd: admin' || true") }
}

// crash kills h1's postmaster, and starts it again as its manager would: at
// once, when the last of its children has noticed.
func (s *site) crash(t *testing.T) {
	t.Helper()
	start := "as $bin/pg_ctl -s -w -D $data -l $log start >/dev/null"
	if s.layout != dataDirectory {
		start = "as pg_ctlcluster $major main start"
	}
	s.at(t, "h1", `kill -KILL "$(head -n 1 $data/postmaster.pid)"
while pgrep -x postgres >/dev/null; do sleep 0.02; done
`+start)
}

// strike stops the tool, hits, and lets it go on.
func (c *calling) strike(t *testing.T, s *site, k strike) {
	t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGSTOP)
	for alive(c.cmd.Process.Pid) && !stopped(c.cmd.Process.Pid) {
		pause(time.Millisecond)
	}
	k.hit(t, s, c)
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
}

func stopped(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "T")
}
