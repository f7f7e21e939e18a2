package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// moment is an instant of a run: its journal has just announced an act, or said
// that one was taken back. It is the nth of its kind at its node, which is the
// same in every run of a plan over the same hosts.
type moment struct {
	kind   journal.Type
	node   string
	effect string
	nth    int
	text   string // the act, for people
}

// momentsOf a run that nobody disturbed: every act, in order.
func momentsOf(recs []journal.Record) []moment {
	var out []moment
	count := map[moment]int{}
	for _, r := range recs {
		if r.Type != journal.Intent && r.Type != journal.Undone {
			continue
		}
		m := moment{kind: r.Type, node: r.Node, effect: r.Effect}
		count[m]++
		m.nth = count[m]
		m.text = r.Text
		out = append(out, m)
	}
	return out
}

// copies: while it lasts an rsync is at work.
func (m moment) copies() bool { return m.kind == journal.Intent && m.effect == "copy" }

// in reports whether the journal has come to it.
func (m moment) in(recs []journal.Record) bool {
	n := 0
	for _, r := range recs {
		if r.Type == m.kind && r.Node == m.node && r.Effect == m.effect {
			n++
		}
	}
	return n >= m.nth
}

// String is short, and the same for every run: no lab's name, no details.
func (m moment) String() string {
	text, _, _ := strings.Cut(m.text, " (")
	text, _, _ = strings.Cut(text, ",")
	text = regexp.MustCompile(`\S*/`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\S+\.pgpass`).ReplaceAllString(text, "of the standby")
	return fmt.Sprintf("%s %s", m.node, text)
}

// reach returns as soon as the run has come to a moment, or false when it ended
// before anybody could step in.
func (o *operator) reach(t *testing.T, c *calling, m moment) bool {
	t.Helper()
	for deadline := time.Now().Add(callTimeout); time.Now().Before(deadline); pause(time.Millisecond) {
		ended := !alive(c.cmd.Process.Pid)
		if _, recs := o.records(); m.in(recs) {
			return !ended
		}
		if ended {
			a := c.wait()
			t.Fatalf("%v ended (exit %d) and never came to %q:\n%s%s", a.args, a.code, m, a.stdout, a.stderr)
		}
	}
	t.Fatalf("not within %s: %q", callTimeout, m)
	return false
}
