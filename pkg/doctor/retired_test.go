package doctor

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// three is a lab with pg3, which streams from upstream; the whole cluster is looked at.
func three(t *testing.T, upstream string) (*lab, *facts.Host) {
	t.Helper()
	l := newLab()
	l.streaming()
	l.scope = Scope{}
	h := *l.cl.Hosts[1]
	h.Name, h.Address, h.Slot, h.UpstreamName = "pg3", "10.0.0.13", "pg3", upstream
	l.cl.Hosts = append(l.cl.Hosts, &h)
	pg3 := facts.New("pg3", &source{})
	pg3.Machine, pg3.Config, pg3.Data, pg3.Server = l.pg2.Machine, l.pg2.Config, l.pg2.Data, l.pg2.Server
	pg3.Machine.MachineID, pg3.Data.Inode = "c", "3:3"
	pg3.SetSettings(postgres.Settings{})
	pg3.SetRole(facts.Role{Name: "replicator", Exists: true, Login: true, Replication: true})
	return l, pg3
}

func (l *lab) all(t *testing.T, pg3 *facts.Host) (ids []string, remedies map[string]string) {
	t.Helper()
	l.pg1.SetSettings(postgres.Settings{})
	l.pg2.SetSettings(postgres.Settings{})
	l.pg2.SetRole(facts.Role{Name: "replicator", Exists: true, Login: true, Replication: true})
	got, err := Examine(t.Context(), l.cl, map[string]*facts.Host{"pg1": l.pg1, "pg2": l.pg2, "pg3": pg3}, l.scope)
	if err != nil {
		t.Fatal(err)
	}
	remedies = map[string]string{}
	for _, f := range got {
		id := f.Host + " " + string(f.Severity) + " " + f.ID
		ids, remedies[id] = append(ids, id), f.Remedy
	}
	return ids, remedies
}

func TestStandbyThatWasTakenOutIsNotAdmittedAgain(t *testing.T) {
	t.Parallel()
	l, pg3 := three(t, "pg1")
	pg3.Server, pg3.Data.PID, pg3.Machine.PortInUse = facts.Server{}, 0, false
	l.rules("host replication replicator 10.0.0.11/32 scram-sha-256\n") // those of pg3 were withdrawn
	l.pg1.Server.Slots = append(l.pg1.Server.Slots, facts.Slot{Name: "pg3", Type: "physical"})
	if got, _ := l.all(t, pg3); !cmp.Equal(got, []string{"pg2 note standby.turns-away"}) {
		t.Errorf("nobody retired it: %v", got)
	}
	l.scope.Retired = map[string]member.Retirement{"pg3": {Run: "r1"}}
	got, remedies := l.all(t, pg3)
	const strange = "pg1 warn slot.strange"
	if diff := cmp.Diff([]string{strange}, got); diff != "" {
		t.Error(diff)
	}
	// Without --of it would be refused: the inventory has the standby still.
	if want := "if nobody needs it: pgrepctl slot drop pg3 --on pg1 --of pg3"; remedies[strange] != want {
		t.Errorf("got %q, want %q", remedies[strange], want)
	}
	// Who asks about it wants it back.
	l.scope.Standby = "pg2"
	pg3.Machine.TmpFS, pg3.Data.State = "", facts.Absent
	if got, _ := l.all(t, pg3); len(got) != 1 {
		t.Errorf("of another: %v", got)
	}
	l.scope.Standby = "pg3"
	if got, _ := l.all(t, pg3); !cmp.Equal(got, []string{"pg3 block target.tmpfs"}) {
		t.Errorf("of itself: %v", got)
	}
}

func TestStandbyBelowOneThatWasTakenOutNeedsAnotherUpstream(t *testing.T) {
	t.Parallel()
	l, pg3 := three(t, "pg2")
	l.pg2.Server, l.pg2.Data.PID, l.pg2.Machine.PortInUse = facts.Server{}, 0, false
	l.pg1.Server.Slots, l.pg1.Server.Senders = nil, nil
	l.scope.Retired = map[string]member.Retirement{"pg2": {Run: "r1"}}
	const down = "pg2 block source.down"
	got, remedies := l.all(t, pg3)
	if diff := cmp.Diff([]string{down}, got); diff != "" {
		t.Error(diff)
	}
	if want := "give pg3 another upstream: in the inventory"; remedies[down] != want {
		t.Errorf("got %q, want %q", remedies[down], want)
	}
	l.cl.Hosts[2].UpstreamName = "pg1"
	if got, _ := l.all(t, pg3); len(got) != 0 {
		t.Errorf("nobody is below it: %v", got)
	}
}

func TestUpstreamThatIsStillToBeMadeIsMadeFirst(t *testing.T) {
	t.Parallel()
	for state, want := range map[facts.DataState]string{
		facts.Absent: "make it first: pgrepctl standby bootstrap pg2", facts.Partial: "make it first: pgrepctl standby bootstrap pg2", facts.Cluster: "start it",
	} {
		l, pg3 := three(t, "pg2")
		l.scope.Standby = "pg3"
		l.pg2.Server, l.pg2.Data = facts.Server{}, facts.DataDir{Path: "/srv/pg/data", State: state}
		if _, remedies := l.all(t, pg3); remedies["pg2 block source.down"] != want {
			t.Errorf("%s: %q", state, remedies["pg2 block source.down"])
		}
	}
	l := newLab()
	l.pg1.Server, l.pg1.Data = facts.Server{}, facts.DataDir{Path: "/srv/pg/data", State: facts.Absent}
	l.cl.Hosts[0].Role = inventory.Primary
	for _, f := range l.examine(t) {
		if f.ID == "source.down" && f.Remedy != "start it" {
			t.Errorf("the primary: %q", f.Remedy)
		}
	}
}
