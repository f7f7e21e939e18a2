package steps

import (
	"cmp"
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// absent plans that a physical slot is gone. Whose it is has to be said: of whom
// (of), or that nobody of the inventory has it (orphan). A slot in use is another
// question (terminate).
func (s *Slot) absent(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !h.Server.Running {
		return s.absentStopped(ctx, in, h)
	}
	have, exists := h.Server.Slot(s.Name)
	if !exists {
		return noop("there is no slot %s", s.Name), nil
	}
	owner := in.ownerOf(ctx, have)
	if err := s.refuseOwner(in, have, owner); err != nil {
		return Planned{}, err
	}
	if err := s.refuseWaitedFor(ctx, in, h); err != nil {
		return Planned{}, err
	}
	if err := s.refuseActive(ctx, in, h.Server.Version, have, owner); err != nil {
		return Planned{}, err
	}
	return s.drop(in, h.Server.Version, have, owner)
}

// ownerOf asks the standbys of the host too, those that answer, before it calls a
// slot that nobody uses an orphan. Of one that is named by who drops it, that will do.
func (in In) ownerOf(ctx context.Context, have facts.Slot) slot.Owner {
	owner := slot.OwnerOf(in.Cluster, in.Self, have)
	if owner.Use != slot.Orphan || have.Active {
		return owner
	}
	peers, _ := in.peers(ctx, in.Cluster.Downstreams(in.Self))
	return slot.OwnerOf(in.Cluster, in.Self, have, peers...)
}

// refuseOwner: what a standby of the inventory needs is dropped only by who names
// that standby, and what is nobody's only by who says that it is.
func (s *Slot) refuseOwner(in In, have facts.Slot, owner slot.Owner) error {
	self := in.Self.Name
	switch owner.Use {
	case slot.Logical:
		return fault.Refuse(self, "if nobody needs what it decodes: select pg_drop_replication_slot("+literal(s.Name)+")",
			fmt.Errorf("slot %s is a %s slot; only physical ones are dropped here", s.Name, have.Type))
	case slot.Temporary:
		return fault.Refuse(self, fmt.Sprintf("it goes when its session ends: server process %d", have.ActivePID),
			fmt.Errorf("slot %s is a temporary slot of a session", s.Name))
	case slot.Needed, slot.Guest:
		if of := s.of(in); of != owner.Host {
			text := "slot %s is needed: the inventory gives it to %s, a standby of %s"
			hint := fmt.Sprintf("take %s out of the inventory, or give it another slot or upstream there; if it is retired: %s --of %s (in a plan, of: %s)", owner.Host, s.command(in), owner.Host, owner.Host)
			if owner.Use == slot.Guest {
				text = "slot %s is in use: %s streams from %s by it, or is set to, and the inventory does not say so"
				hint = fmt.Sprintf("correct slot or upstream of %s in the inventory; if it is retired: %s --of %s (in a plan, of: %s)", owner.Host, s.command(in), owner.Host, owner.Host)
			}
			return fault.Refuse(self, hint, fmt.Errorf(text, s.Name, owner.Host, self))
		}
	case slot.Orphan:
		if !s.Orphan {
			return fault.Refuse(self, "if nobody needs it: "+s.command(in)+" (in a plan, orphan: true)",
				fmt.Errorf("slot %s belongs to no host of the inventory: it may be somebody else's", s.Name))
		}
	}
	return nil
}

func (s *Slot) command(in In) string { return "pgrepctl slot drop " + s.Name + " --on " + in.Self.Name }

// of is the host that the plan says the slot to be of; empty when it says none.
func (s *Slot) of(in In) string {
	if s.Of == "standby" && in.Standby != nil {
		return in.Standby.Name
	}
	return s.Of
}

// refuseActive: the walsender of a standby whose server does not run, or was promoted,
// is about to end, and the act waits for that. Before a preview's stop of the standby
// is real, its slot is still shown as active.
func (s *Slot) refuseActive(ctx context.Context, in In, v postgres.Version, have facts.Slot, owner slot.Owner) error {
	if !have.Active {
		return nil
	}
	who := "a session"
	if have.Client != "" {
		who = fmt.Sprintf("%q", have.Client)
	}
	uses := who + " uses it"
	if have.ActivePID != 0 {
		uses += fmt.Sprintf(" (server process %d)", have.ActivePID)
	}
	err := fmt.Errorf("slot %s is active: %s", s.Name, uses)
	switch {
	case s.endsBy(in, v, owner) == "": // 9.4, and nobody says whose it is
		return fault.Refuse(in.Self.Name, "end its receiver, then type the same command again; who streams from it: select application_name, client_addr from pg_stat_replication", err)
	case s.Terminate:
		return nil
	}
	terminate := "let this end its walsender: " + s.command(in)
	if owner.Host != "" {
		terminate += " --of " + owner.Host
	}
	terminate += " --terminate (in a plan, terminate: true)"
	// The application_name of a standby that was not made here may be any.
	if other, ok := in.Cluster.Host(have.Client); owner.Host == "" || ok && other.Name != owner.Host {
		return fault.Refuse(in.Self.Name, "end its receiver first, or "+terminate, err)
	}
	sb, gone := in.Facts.Of(ctx, owner.Host)
	if gone != nil {
		return fault.Refuse(in.Self.Name, "a host that is gone keeps its slot for wal_sender_timeout (60 s by default): type the same command again then, or "+terminate,
			fmt.Errorf("%w, and %s does not answer: %w", err, owner.Host, gone))
	}
	if !sb.Server.Running || !sb.Server.InRecovery {
		return nil
	}
	return fault.Refuse(in.Self.Name, "stop the server of "+owner.Host+" first, or "+terminate, err)
}

// endsBy is a query that ends the walsender which uses the slot. 9.4 does not say which one
// that is: there it is that of the standby whose slot it is; empty if nobody says whose.
func (s *Slot) endsBy(in In, v postgres.Version, owner slot.Owner) string {
	const end = "select pg_terminate_backend("
	if v.AtLeast(9, 5) {
		return end + "active_pid) from pg_replication_slots where slot_name = " + literal(s.Name) + " and active_pid is not null"
	}
	of, ok := in.Cluster.Host(cmp.Or(owner.Host, s.of(in)))
	if !ok {
		return ""
	}
	return end + "pid) from pg_stat_replication where application_name = " + literal(applicationName(of)) +
		" and exists (select 1 from pg_replication_slots where slot_name = " + literal(s.Name) + " and active)"
}

func (s *Slot) drop(in In, v postgres.Version, have facts.Slot, owner slot.Owner) (Planned, error) {
	drop, err := v.DropSlot(s.Name)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	// One that never had a position gets none again.
	reserve := have.RestartLSN != nil && v.SlotReservesWAL()
	create, err := v.CreateSlot(s.Name, reserve, false)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	statements := []string{drop}
	end := ""
	if s.Terminate {
		end = s.endsBy(in, v, owner)
	}
	if end != "" { // whether it is active now or not: a preview says what the run says
		// One message: a walreceiver may be back before its slot is dropped, and
		// then each further try ends its walsender again.
		statements = []string{end + "; " + drop}
	}
	whose := "of " + owner.Host
	if owner.Host == "" {
		whose = "of no host of the inventory"
	}
	if end != "" {
		whose += "; a walsender that uses it is ended"
	}
	there := "exists (select from pg_replication_slots where slot_name = " + literal(s.Name) + ") as done"
	return Planned{Effects: []effect.Effect{&effect.SQL{
		Host: in.Self.Name, Verb: "drop", What: "slot " + s.Name,
		Why:        "(" + whose + "; the WAL that it keeps is free to go, and an undo does not bring that back)",
		Statements: statements, Unless: "select not " + there,
		Undo: &effect.SQL{Host: in.Self.Name, Verb: "create", What: "slot " + s.Name, Why: "(" + kept(reserve) + "; not what it kept before)",
			Statements: []string{create}, Unless: "select " + there},
		Change: effect.Change{DropSlot: s.Name},
		Hint:   "see who uses the slots: pgrepctl slot list",
	}}}, nil
}

// notRunning says why a server that has to be asked cannot be.
func notRunning(h *facts.Host) error {
	if h.Server.NotReady == "" {
		return effect.NoServer(h.Name, host.ErrNoServer)
	}
	return &fault.Error{Class: fault.Unreachable, Host: h.Name, Op: "connect to the server", Err: fmt.Errorf("%w: %s", host.ErrNoServer, h.Server.NotReady),
		Hint: "wait until it takes sessions, or has ended (pgrepctl status tells), then type the same command again"}
}
