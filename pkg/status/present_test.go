package status

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// canBeTyped: a command ends with a hint's part, and no prose is glued to it.
func canBeTyped(t *testing.T, hint string) {
	t.Helper()
	word := regexp.MustCompile(`^(standby|bootstrap|reseed|retire|replay|resume|runs|undo|show|slot|drop|create|limit|none|SIZE|topology|status|doctor|--[a-z-]+|pg[123]|run[123]|r1|old)$`)
	for _, part := range strings.Split(hint, "; ") {
		_, command, _ := strings.Cut(part, "pgrepctl ")
		for _, w := range strings.Fields(command) {
			if !word.MatchString(w) {
				t.Errorf("%q in %q", w, hint)
			}
		}
	}
}

// promote makes pg2 the primary on timeline 4, which left timeline 3 at 0/5000, and has pg3,
// which the inventory has below pg1, follow it. pg1 takes writes as before.
func promote() (*inventory.Cluster, map[string]Result) {
	cl, r := cluster(), healthy()
	cl.Hosts[2].UpstreamName = "pg1"
	p, a, b := r["pg1"].Facts, r["pg2"].Facts, r["pg3"].Facts
	p.Server.Senders, p.Server.LSN = nil, 0x6000
	p.Server.Slots = []facts.Slot{{Name: "pg2", Type: "physical", WALStatus: "reserved"}, {Name: "pg3", Type: "physical", WALStatus: "reserved"}}
	p.Data.Control = postgres.Control{SystemID: 77, Timeline: 3, State: postgres.InProduction, CheckpointLSN: 0x6000}
	a.Server.InRecovery, a.Server.Replay, a.Data.Standby = false, facts.Replay{}, false
	for _, f := range []*facts.Host{a, b} {
		f.Server.Timeline, f.Data.HistoryOf, f.Data.History = 4, 4, []postgres.Fork{{Timeline: 3, LSN: 0x5000}}
	}
	return cl, r
}

// stop stops pg1 in order, at a position.
func stop(r map[string]Result, at postgres.LSN, fenced bool) {
	f := r["pg1"].Facts
	f.Server, f.Data.PID, f.Data.Standby = facts.Server{}, 0, fenced
	f.Data.Control = postgres.Control{SystemID: 77, Timeline: 3, State: postgres.ShutDown, CheckpointLSN: at}
}

func said(rep Report, host string) (notes, hints []string) {
	i := slices.IndexFunc(rep.Hosts, func(r Row) bool { return r.Host == host })
	for _, n := range rep.Hosts[i].Notes {
		hints = append(hints, n.Hint)
	}
	return noted(rep.Hosts[i].Notes), hints
}

func TestAfterAPromotionTheNewerTimelineIsThePrimary(t *testing.T) {
	t.Parallel()
	const correct = "in the inventory, say role: primary for pg2, and role: standby for pg1"
	type hosts = map[string]Result
	for name, c := range map[string]struct {
		damage              func(hosts)
		pg1, pg2, pg3       []string
		hint1, hint2, never string
	}{
		"the old primary comes back": {
			pg1: []string{"problem:two-primaries"}, pg2: []string{"problem:writable-twin"},
			hint1: correct + "; keep writes away, on pg1: ", hint2: correct + ", ", never: "",
		},
		"the old primary was fenced and stopped in order": {
			damage: func(r hosts) { stop(r, 0x4f90, true) },
			pg1:    []string{"problem:down"}, pg2: []string{"problem:role-differs"},
			hint1: correct + "; then: pgrepctl standby bootstrap pg1", hint2: correct, never: "pg_ctl",
		},
		"the old primary was only stopped": {
			damage: func(r hosts) { stop(r, 0x4f90, false) },
			pg1:    []string{"problem:down"}, pg2: []string{"problem:role-differs"},
			hint1: correct + "; save what only pg1 has; then: pgrepctl standby reseed pg1", hint2: correct, never: "pg_ctl",
		},
		"the old primary wrote on, and was stopped then": {
			damage: func(r hosts) { stop(r, 0x5001, true) },
			pg1:    []string{"problem:down"}, pg2: []string{"problem:role-differs"},
			hint1: correct + "; save what only pg1 has; then: pgrepctl standby reseed pg1", hint2: correct, never: "pg_ctl",
		},
		"the old primary follows": {
			damage: func(r hosts) {
				f := r["pg1"].Facts
				f.Server.InRecovery, f.Server.Timeline, f.Server.LSN, f.Server.Slots = true, 4, 0x5000, nil
				f.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "10.0.0.12"}
				s := &r["pg2"].Facts.Server
				s.Senders = append(s.Senders, facts.Sender{PID: 9, Application: "pg1", State: "streaming"})
			},
			pg1: []string{"problem:role-differs"}, pg2: []string{"problem:role-differs"},
			hint1: "name the present primary in the inventory", hint2: correct, never: "pg_ctl",
		},
		"the old primary follows, and a standby still streams from it": {
			damage: func(r hosts) {
				f, b := r["pg1"].Facts, r["pg3"].Facts
				f.Server.InRecovery, f.Server.Timeline, f.Server.LSN = true, 4, 0x5000
				f.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "10.0.0.12"}
				f.Server.Slots[1].Active, f.Server.Slots[1].ActivePID = true, 8
				f.Server.Senders = []facts.Sender{{PID: 8, Application: "pg3", State: "streaming"}}
				b.Server.Replay.SenderHost = "10.0.0.11"
				s := &r["pg2"].Facts.Server
				s.Senders, s.Slots = []facts.Sender{{PID: 9, Application: "pg1", State: "streaming"}}, nil
			},
			pg1: []string{"problem:role-differs"}, pg2: []string{"problem:role-differs"},
			hint1: "name the present primary in the inventory", hint2: correct, never: "pg_ctl",
		},
		"a standby of the new primary does not answer": {
			damage: func(r hosts) { r["pg3"] = Result{} },
			pg1:    []string{"problem:two-primaries"}, pg2: []string{"problem:writable-twin"}, pg3: []string{"problem:unreachable"},
			hint1: correct, hint2: correct,
		},
		"the old primary is stopped, and a standby waits for it": {
			damage: func(r hosts) {
				stop(r, 0x4f90, true)
				f, s := r["pg3"].Facts, &r["pg2"].Facts.Server
				f.Server.Timeline, f.Data.History, f.Data.HistoryOf, f.Server.Replay = 3, nil, 0, facts.Replay{}
				s.Senders, s.Slots[0].Active = nil, false
			},
			pg1: []string{"problem:down"}, pg2: []string{"problem:role-differs"},
			pg3:   []string{"warning:slot-inactive", "problem:other-timeline", "problem:no-receiver"},
			hint1: correct, hint2: correct, never: "bring pg1 back",
		},
		"a standby of the new primary receives nothing now": {
			damage: func(r hosts) {
				r["pg3"].Facts.Server.Replay = facts.Replay{}
				s := &r["pg2"].Facts.Server
				s.Senders, s.Slots[0].Active = nil, false
			},
			pg1: []string{"problem:two-primaries"}, pg2: []string{"problem:writable-twin"}, pg3: []string{"warning:slot-inactive", "problem:no-receiver"},
			hint1: correct, hint2: correct,
		},
		"two were promoted": {
			damage: func(r hosts) { r["pg3"].Facts.Server.InRecovery, r["pg2"].Facts.Server.Senders = false, nil },
			pg1:    []string{"problem:two-primaries", "problem:two-primaries"}, pg2: []string{"problem:writable-twin"}, pg3: []string{"problem:writable-twin"},
			hint1: "if pg2 is the primary now: ", hint2: "keep writes away, on pg2: ",
		},
		"a standby still follows the old primary": {
			damage: func(r hosts) {
				f, p := r["pg3"].Facts, &r["pg1"].Facts.Server
				f.Server.Timeline, f.Data.History, f.Data.HistoryOf = 3, nil, 0
				f.Server.Replay = facts.Replay{ReceiverStatus: "streaming", SenderHost: "10.0.0.11", SlotName: "pg3"}
				p.Slots[1].Active, p.Slots[1].ActivePID = true, 8
				p.Senders = []facts.Sender{{PID: 8, Application: "pg3", State: "streaming"}}
				r["pg2"].Facts.Server.Senders, r["pg2"].Facts.Server.Slots = nil, nil
			},
			pg1: []string{"problem:two-primaries"}, pg2: []string{"problem:writable-twin"},
			hint1: correct, hint2: correct,
		},
		"on equal timelines the inventory has the say": {
			damage: func(r hosts) { r["pg1"].Facts.Server.Timeline = 4 },
			pg2:    []string{"problem:writable-twin"}, pg3: []string{"warning:slot-inactive", "warning:not-recognised", "warning:other-upstream"},
			hint2: "keep writes away, on pg2: ",
		},
		"another system is no successor": {
			damage: func(r hosts) {
				for _, h := range []string{"pg2", "pg3"} {
					r[h].Facts.Server.SystemID = "78"
				}
			},
			pg2: []string{"problem:other-system"}, pg3: []string{"warning:slot-inactive", "problem:other-system", "warning:not-recognised", "warning:other-upstream"},
			hint2: "correct its address", never: "role: primary for pg2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, r := promote()
			if c.damage != nil {
				c.damage(r)
			}
			rep := Build(cl, r, nil)
			for host, want := range map[string][]string{"pg1": c.pg1, "pg2": c.pg2, "pg3": c.pg3} {
				notes, hints := said(rep, host)
				if diff := cmp.Diff(want, notes); diff != "" {
					t.Errorf("%s: %s", host, diff)
				}
				first := map[string]string{"pg1": c.hint1, "pg2": c.hint2}[host]
				if first != "" && (len(hints) == 0 || !strings.HasPrefix(hints[0], first)) {
					t.Errorf("%s: %q", host, hints)
				}
				if c.never != "" && strings.Contains(strings.Join(hints, "\n"), c.never) {
					t.Errorf("%s: %q", host, hints)
				}
				for _, h := range hints {
					if !strings.Contains(h, correct) {
						canBeTyped(t, h)
					}
				}
			}
		})
	}
}

func TestOldPrimaryThatIsAStandbyByNowIsSeededAgainWhereItCannotFollow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at     postgres.LSN
		fenced bool
		want   []string
	}{
		"it wrote on":          {0x5001, true, []string{"save what only pg1 has; then: pgrepctl standby reseed pg1"}},
		"it was never fenced":  {0x4f90, false, []string{"save what only pg1 has; then: pgrepctl standby reseed pg1"}},
		"it was stopped first": {0x4f90, true, []string{"whether its data can go on says: pgrepctl standby reseed pg1 --dry-run; if they can, to make it: pgrepctl standby bootstrap pg1"}},
	} {
		cl, r := promote()
		stop(r, c.at, c.fenced)
		cl.Hosts[0].Role, cl.Hosts[0].UpstreamName, cl.Hosts[0].Slot = inventory.Standby, "pg2", "pg1"
		cl.Hosts[1].Role, cl.Hosts[1].UpstreamName, cl.Hosts[1].Slot = inventory.Primary, "", ""
		cl.Hosts[2].UpstreamName = "pg2"
		_, hints := said(Build(cl, r, nil), "pg1")
		hints = slices.DeleteFunc(hints, func(h string) bool { return h == "" })
		if diff := cmp.Diff(c.want, hints); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestAStandbyThatReceivesNothingIsSentToSeeWhetherItsDataCanGoOn(t *testing.T) {
	t.Parallel()
	r := healthy()
	r["pg1"].Facts.Server.Senders, r["pg1"].Facts.Server.Slots, r["pg2"].Facts.Server.Replay = nil, nil, facts.Replay{}
	notes, hints := said(Build(cluster(), r, nil), "pg2")
	if diff := cmp.Diff([]string{"problem:slot-missing", "problem:no-receiver"}, notes); diff != "" {
		t.Fatal(diff)
	}
	if !strings.HasPrefix(hints[0], "whether its data can go on says: pgrepctl standby reseed pg2 --dry-run; ") || strings.Contains(hints[1], "reseed") {
		t.Errorf("%q", hints)
	}
}

func TestAStandbyThatHasDivergedHasOneRemedy(t *testing.T) {
	t.Parallel()
	r := healthy()
	promoted(r, 0x4fff)
	r["pg1"].Facts.Server.Senders, r["pg2"].Facts.Server.Replay = nil, facts.Replay{}
	notes, hints := said(Build(cluster(), r, nil), "pg2")
	if diff := cmp.Diff([]string{"problem:diverged", "problem:no-receiver"}, notes); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{"save what only pg2 has; then: pgrepctl standby reseed pg2", ""}, hints); diff != "" {
		t.Error(diff)
	}
}

func TestCommitsThatWaitForStandbysThatAreAwayAreShown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule string
		away bool
		want []string
	}{
		"none is wanted":              {"", true, nil},
		"it streams":                  {"FIRST 1 (pg2)", false, nil},
		"any will do, and one is":     {"*", false, nil},
		"one of two streams":          {"ANY 2 (pg2, pg3)", false, []string{"problem:sync-waits"}},
		"the only one went":           {"FIRST 1 (pg2)", true, []string{"problem:sync-waits"}},
		"who streams is not among it": {"other", false, []string{"problem:sync-waits"}},
		"nobody can read it":          {"FIRST (", true, nil},
	} {
		cl, r := cluster(), healthy()
		server := &r["pg1"].Facts.Server
		server.SyncStandbys = c.rule
		if c.away {
			server.Senders, server.Slots[0].Active = nil, false
		}
		notes, hints := said(Build(cl, r, nil), "pg1")
		if diff := cmp.Diff(c.want, notes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if len(hints) > 0 && !strings.HasSuffix(hints[0], "on pg1: alter system set synchronous_standby_names = ''; select pg_reload_conf()") {
			t.Errorf("%s: %q", name, hints)
		}
	}
}

func TestADelayIsSaidToBeTheInventorysAndWhatSpeaksAgainstIt(t *testing.T) {
	t.Parallel()
	const late, look = "the inventory says that it replays 2h0m0s late", "whether its server has that delay says: pgrepctl doctor pg2; to set it: pgrepctl standby bootstrap pg2"
	for name, c := range map[string]struct {
		age        time.Duration
		target     string
		text, hint string
	}{
		"it is late":              {2 * time.Hour, "", late, ""},
		"it replays what is new":  {3 * time.Second, "", late + ", and the last transaction that it has replayed is of 3s ago", look},
		"it stands at its target": {3 * time.Second, "recovery_target_lsn = 0/4000", late + "; a server with a recovery target may have another delay, or none", ""},
	} {
		cl, r := cluster(), healthy()
		cl.Hosts[1].ApplyDelay = 2 * time.Hour
		s := &r["pg2"].Facts.Server.Replay
		s.LastReplayAge, s.Target, s.Paused = ptr(c.age.Seconds()), c.target, c.target != ""
		notes := Build(cl, r, nil).Hosts[1].Notes
		if diff := cmp.Diff(Note{Severity: Info, ID: "delayed", Text: c.text, Hint: c.hint}, notes[len(notes)-1]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
