package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// AskSocket is HAProxy's stats socket, whose servers are files below /haproxy of the host.
func (m *machine) AskSocket(ctx context.Context, _, path, question string) (string, error) {
	if path != "/run/haproxy.sock" {
		return "", fmt.Errorf("%s has no socket %s", m.name, path)
	}
	var answer strings.Builder
	for command := range strings.SplitSeq(question, "; ") {
		words := append(strings.Fields(command), "")
		switch strings.Join(words[:2], " ") {
		case "show servers":
			answer.WriteString("1\n# be_name srv_name srv_op_state srv_admin_state\n")
			oper := 2
			if _, fails := m.fs.Get("/haproxy/checks-fail"); fails {
				oper = 0
			}
			for _, name := range []string{"pg2", "pg3"} {
				state, _ := m.fs.Get("/haproxy/" + name)
				fmt.Fprintf(&answer, "reads %s %d %d\n", name, oper, map[string]int{"ready": 0, "maint": 1, "drain": 8}[state])
			}
		case "show stat":
			answer.WriteString("# pxname,svname,scur,bck\nreads,pg2,0,0\nreads,pg3,0,0\n")
		case "set server":
			name := strings.TrimPrefix(words[2], "reads/")
			f := host.File{Path: "/haproxy/" + name, Data: []byte(words[4]), Mode: 0o600, UID: -1, GID: -1}
			if err := m.fs.Files("").Write(ctx, f, nil); err != nil {
				return "", err
			}
		default:
			m.w.t.Errorf("HAProxy was told %q", command)
		}
		answer.WriteString("\n")
	}
	return answer.String(), nil
}

// behindHAProxy puts HAProxy and a health file in front of the standby, which is found
// there in a state.
func (w *world) behindHAProxy(found string) {
	w.t.Helper()
	w.balanced = true
	c, err := inventory.Parse("pgrepctl.yaml", []byte(inventoryText(w.layout)+trafficText))
	if err != nil {
		w.t.Fatal(err)
	}
	w.inv = c
	lb := &machine{w: w, name: "lb", fs: hosttest.NewFS("/haproxy")}
	lb.fs.Put("/haproxy/pg2", "", 0o600, found)
	lb.fs.Put("/haproxy/pg3", "", 0o600, "ready")
	lb.fs.OnChange(func(change string, done bool) error { return w.tick("lb: "+change, done) })
	w.hosts["lb"] = lb
	if found == "maint" {
		w.hosts["pg2"].fs.Put("/var/lib/postgresql/drained", "postgres", 0o644, "by anna\n")
	}
}

const trafficText = `traffic:
  balancers:
    lb: {kind: haproxy, socket: /run/haproxy.sock, backend: reads}
    check: {kind: file, path: /var/lib/postgresql/drained}
`

// newTraffic is a standby that streams, behind a balancer, and found there in a state.
func newTraffic(t *testing.T, found string) *world {
	t.Helper()
	w := newStandby(t, layout{})
	w.behindHAProxy(found)
	return w
}

// readBy says whether a balancer sends reads to pg2.
func (w *world) readBy() string {
	state, _ := w.hosts["lb"].fs.Get("/haproxy/pg2")
	if _, drained := w.hosts["pg2"].fs.Get("/var/lib/postgresql/drained"); drained {
		state += ", and the file"
	}
	return state
}

// trafficPlans are the built-in plans about traffic, each with what it finds.
func trafficPlans() map[string]string {
	return map[string]string{"drain-traffic": "ready", "restore-traffic": "maint"}
}

func (w *world) steer(name string) *plan.Plan {
	return w.builtin(name, map[string]string{"standby": "pg2"})
}

func TestTrafficPlansDoWhatTheirPreviewShowsAndNothingTwice(t *testing.T) {
	t.Parallel()
	for name, found := range trafficPlans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTraffic(t, found)
			start := w.state()
			pre, err := w.engine(nil, nil).Preview(t.Context(), w.steer(name))
			if err != nil {
				t.Fatal(err)
			}
			differ(t, "the preview changed something: -before +after", start, w.state())
			if diff := cmp.Diff(effects(pre), w.run(t, w.steer(name))); diff != "" {
				t.Errorf("-preview +apply:\n%s", diff)
			}
			if state, _ := w.hosts["lb"].fs.Get("/haproxy/pg2"); state == found {
				t.Error("nothing was done")
			}
			again, err := w.engine(nil, nil).Preview(t.Context(), w.steer(name))
			if err != nil || again.Effects() != 0 {
				t.Errorf("a second run would do %q (%v)", effects(again), err)
			}
			w.undo(t)
			differ(t, "-start +undone", start, w.state())
		})
	}
}

func TestTrafficPlansAreResumedAndUndoneAfterEveryCrash(t *testing.T) {
	t.Parallel()
	for name, found := range trafficPlans() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newTraffic(t, found)
			from, start := len(c.instants), c.state()
			c.run(t, c.steer(name))
			end := c.state()
			for _, k := range c.instants[from:] {
				t.Run(fmt.Sprint(k), func(t *testing.T) {
					broken := func() *world {
						w := newTraffic(t, found)
						if !w.crash(k, func() { _, _ = w.engine(nil, nil).Apply(t.Context(), w.steer(name)) }) {
							t.Fatal("the run ended before that")
						}
						return w
					}
					w := broken()
					w.run(t, w.steer(name))
					differ(t, "-clean +resumed", end, w.state())
					w.undo(t)
					differ(t, "-start +resumed, undone", start, w.state())
					w = broken()
					w.undo(t)
					differ(t, "-start +undone", start, w.state())
				})
			}
		})
	}
}
