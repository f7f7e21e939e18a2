package doctor

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// A command ends the remedy, or a semicolon ends it: what is copied can be typed.
func TestCommandsOfRemediesCanBeTyped(t *testing.T) {
	t.Parallel()
	typed := regexp.MustCompile(`^pgrepctl( (-{0,2}[a-z0-9_=-]+))+$`)
	words := map[string]bool{}
	for _, w := range strings.Fields("pgrepctl apply standby bootstrap reseed replay resume runs undo slot drop list status pg1 pg2 pg3 old run1 --restart=rolling --without --on --of --follow") {
		words[w] = true
	}
	check := func(name, remedy string) {
		for _, part := range regexp.MustCompile(`[;:()] *`).Split(remedy, -1) {
			i := strings.Index(part, "pgrepctl ")
			if i < 0 {
				continue
			}
			if i > 0 || !typed.MatchString(part) {
				t.Errorf("%s: %q in %q", name, part, remedy)
			}
			for _, w := range strings.Fields(part) {
				if !words[w] {
					t.Errorf("%s: %q in %q", name, w, remedy)
				}
			}
		}
	}
	all := cases()
	lost := func(l *lab) {
		l.pg1.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical", WALStatus: "lost"}}
	}
	for name, damage := range map[string]func(*lab){
		"slot lost, and data there": func(l *lab) { lost(l); l.pg2.Data = cluster("77", true) },
		"slot lost, and an archive": func(l *lab) {
			lost(l)
			l.archive(inventory.Archive{Directory: "/wal"}, facts.Access{}, facts.Access{})
		},
	} {
		c := all["healthy cluster"]
		c.damage = damage
		all[name] = c
	}
	for name, c := range all {
		l := newLab()
		c.damage(l)
		for _, f := range l.examine(t) {
			check(name, f.Remedy)
		}
	}
}

func TestServerThatAnswersNobodyMayListenElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.cl.Hosts[0].Postgres.Port = 5433
	l.pg1.Server = facts.Server{NotReady: "it has no unix socket in /run/postgresql"}
	for _, f := range l.examine(t) {
		if f.ID == "server.not-ready" && !strings.Contains(f.Remedy, "port 5433, which the inventory has") {
			t.Errorf("got %q", f.Remedy)
		}
	}
}
