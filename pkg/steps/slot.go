package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// Slot makes a standby's physical replication slot on its upstream, before the
// backup, so that the WAL from the backup's start on is kept; or drops one.
type Slot struct {
	Name    string `yaml:"name"`    // of the slot, which is a physical one
	Reserve bool   `yaml:"reserve"` // it keeps WAL from now on, and not from its first use on
	// State is present, which empty means too, or absent.
	State string `yaml:"state"`
	// Of, of an absent one, names the host of the inventory whose slot it is
	// and that needs it no longer: "standby", or a host's name.
	Of string `yaml:"of"`
	// Orphan allows to drop one that no host of the inventory has.
	Orphan bool `yaml:"orphan"`
	// Terminate ends the walsender that uses the slot before it is dropped.
	Terminate bool `yaml:"terminate"`
	// Backup is the host whose backup holds a temporary slot until the copy is there, if
	// that is the one that the slot is on, and of 12 or later: this step makes none then.
	Backup string `yaml:"backup"`
	// Held makes it of the temporary one of the backup around: the copy is there.
	Held bool `yaml:"held"`
	// Renew: its standby is being seeded again. A slot that keeps no WAL, or is
	// about to lose it, is made anew.
	Renew bool `yaml:"renew"`
}

var _ Step = (*Slot)(nil)

// Validate is called when a plan file is read.
func (s *Slot) Validate() error {
	switch s.State {
	case "", "present":
		if s.Of != "" || s.Orphan || s.Terminate {
			return errors.New("of, orphan and terminate belong to state: absent")
		}
	case "absent":
		if s.Reserve || s.Renew || s.Held || s.Backup != "" {
			return errors.New("reserve, backup, held and renew belong to a slot that is made, not to state: absent")
		}
	default:
		return fmt.Errorf("state %q: want present or absent", s.State)
	}
	if s.Name == "" {
		return nil // the inventory wants none
	}
	return postgres.ValidSlotName(s.Name)
}

// slotClaim names a slot that a run makes.
func slotClaim(name string) string { return "slot " + name }

// Plan never takes over a slot: one that this run did not make, and that the
// standby does not already use, is somebody else's.
func (s *Slot) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Name == "" {
		return noop("the inventory wants no slots"), nil
	}
	if s.State == "absent" {
		return s.absent(ctx, in)
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	claim := slotClaim(s.Name)
	if !h.Server.Running {
		return Planned{}, notRunning(h)
	}
	have, exists := h.Server.Slot(s.Name)
	if exists && s.Renew && in.Standby != nil {
		return s.renew(ctx, in, h, have, claim)
	}
	if !exists && s.Held {
		return s.keep(in, h)
	}
	if !exists {
		held, err := s.heldByBackup(ctx, in, h)
		if err != nil {
			return Planned{}, err
		}
		if held {
			return noop("a temporary slot keeps the WAL while the copy is made, and becomes slot %s then", s.Name), nil
		}
		return s.createAnew(ctx, in, h, claim)
	}
	return s.existing(ctx, in, h, have, claim)
}

// existing says whether a slot that is there is the standby's.
func (s *Slot) existing(ctx context.Context, in In, h *facts.Host, have facts.Slot, claim string) (Planned, error) {
	if have.WALStatus == "lost" {
		drop := "pgrepctl slot drop " + s.Name + " --on " + in.Self.Name
		if in.Standby != nil {
			drop += " --of " + in.Standby.Name
		}
		hint := "drop it: " + drop + "; then type the same command again"
		if in.Standby != nil {
			if done, _, err := in.seeded(ctx); err == nil && done { // it needs more than a slot
				hint = "to make the slot anew, too: pgrepctl standby reseed " + in.Standby.Name
			}
		}
		return Planned{}, fault.Refuse(in.Self.Name, hint, fmt.Errorf("slot %s has lost its WAL", s.Name))
	}
	if in.Standby == nil {
		return s.plain(in, have)
	}
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	ours := in.Run.Claimed(claim) || done
	mine := !have.Active || have.Client == "" || have.Client == applicationName(in.Standby)
	if done && !mine {
		if mine, err = in.streamsBy(ctx, h, have); err != nil {
			return Planned{}, err
		}
	}
	if have.Type == "physical" && ours && mine {
		if done {
			return noop("slot %s exists; %s", s.Name, reason), nil
		}
		if s.Reserve && have.RestartLSN == nil && !h.Server.BackupVersion().SlotReservesWAL() {
			e, err := s.reserve(ctx, in, h)
			return Planned{Effects: []effect.Effect{e}}, err
		}
		return noop("slot %s exists: this run made it", s.Name), nil
	}
	who := "nobody uses it now"
	switch {
	case have.Type != "physical":
		who = "it is a " + have.Type + " slot"
	case have.Active:
		who = fmt.Sprintf("%q uses it (server process %d)", have.Client, have.ActivePID)
	}
	return Planned{}, fault.Refuse(in.Self.Name,
		fmt.Sprintf("give %s another slot name in the inventory (slot: …), or, if nobody needs it: %s", in.Standby.Name, slot.DropCommandOf(in.Self.Name, in.Standby.Name, have)),
		fmt.Errorf("slot %s exists and is not this standby's: %s", s.Name, who))
}

// renew takes the slot of its name for the standby's: the data of that are proved to be
// of this system, and it is stopped.
func (s *Slot) renew(ctx context.Context, in In, h *facts.Host, have facts.Slot, claim string) (Planned, error) {
	if have.Type != "physical" || have.Active && have.Client != "" && have.Client != applicationName(in.Standby) {
		return Planned{}, fault.Refuse(in.Self.Name, "give "+in.Standby.Name+" another slot name in the inventory (slot: …)",
			fmt.Errorf("slot %s exists and is not this standby's: it is a %s slot, used by %q", s.Name, kindOf(have), have.Client))
	}
	v := h.Server.BackupVersion()
	worthless := have.WALStatus == "lost" || have.WALStatus == "unreserved" || have.RestartLSN == nil && v.SlotReservesWAL()
	if !worthless || in.replaced() {
		return noop("slot %s exists, and keeps WAL", s.Name), nil
	}
	p, err := s.create(ctx, in, h, claim)
	if err != nil {
		return Planned{}, err
	}
	drop, err := v.DropSlot(s.Name)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	lost := &effect.SQL{Host: in.Self.Name, Verb: "drop", What: "slot " + s.Name, Why: "(it has lost its WAL, and keeps none)", Statements: []string{drop},
		Change: effect.Change{DropSlot: s.Name}}
	p.Effects = append([]effect.Effect{lost}, p.Effects...)
	return p, nil
}

// plain is about a slot of a plan without a standby: one that exists is as good
// as any, for nothing tells whom it is for.
func (s *Slot) plain(in In, have facts.Slot) (Planned, error) {
	if have.Type != "physical" || have.Temporary {
		return Planned{}, fault.Refuse(in.Self.Name, "choose another name", fmt.Errorf("slot %s exists, and is a %s slot", s.Name, kindOf(have)))
	}
	return noop("slot %s exists", s.Name), nil
}

func kindOf(s facts.Slot) string {
	if s.Temporary {
		return "temporary"
	}
	return s.Type
}

// createAnew makes the slot. A standby that is there already, and has lost it, uses it
// within seconds and never lets go: to undo that ends its walsender first, which leaves it
// as it was found.
func (s *Slot) createAnew(ctx context.Context, in In, h *facts.Host, claim string) (Planned, error) {
	p, err := s.create(ctx, in, h, claim)
	if err != nil || in.Standby == nil || !h.Server.Version.AtLeast(9, 5) {
		return p, err
	}
	lives, _, err := in.seeded(ctx)
	if err != nil && s.Renew {
		return p, nil // not a standby at all, as one that was promoted: no walsender of it comes back
	}
	if err != nil || !lives {
		return p, err
	}
	name := applicationName(in.Standby)
	made, ok := p.Effects[0].(*effect.SQL)
	if !ok {
		return p, err
	}
	made.Undo.Why = "(a walsender of " + name + " that uses it is ended)"
	made.Undo.Statements = []string{"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = " + literal(s.Name) +
		" and active_pid in (select pid from pg_stat_replication where application_name = " + literal(name) + "); " + made.Undo.Statements[0]}
	return p, nil
}

// create makes the slot. Before 9.6 a slot keeps no WAL until somebody has streamed
// from it: that is an act of its own then.
func (s *Slot) create(ctx context.Context, in In, h *facts.Host, claim string) (Planned, error) {
	v := h.Server.BackupVersion()
	atOnce := s.Reserve && v.SlotReservesWAL()
	if s.Reserve && !atOnce && in.Standby == nil {
		return Planned{}, fault.Refuse(in.Self.Name, "name the standby that it is for: it streams for a moment", errors.New("PostgreSQL "+v.Major()+" cannot reserve WAL when a slot is made"))
	}
	create, err := v.CreateSlot(s.Name, atOnce, false)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	undo, err := dropSlot(in.Self.Name, v, s.Name)
	if err != nil {
		return Planned{}, err
	}
	made := facts.Slot{Name: s.Name, Type: "physical", WALStatus: "reserved"}
	if atOnce {
		made.RestartLSN = new(postgres.LSN)
	}
	p := Planned{Effects: []effect.Effect{&effect.SQL{
		Host: in.Self.Name, Verb: "create", What: "slot " + s.Name, Why: "(" + kept(atOnce) + s.forNobody(in) + ")", Statements: []string{create}, Undo: undo, Claims: claim,
		Change: effect.Change{SetSlot: &made},
		Hint:   "see who uses the slots: select slot_name, active from pg_replication_slots",
	}}}
	if s.Reserve && !atOnce {
		e, err := s.reserve(ctx, in, h)
		if err != nil {
			return Planned{}, err
		}
		p.Effects = append(p.Effects, e)
	}
	return p, nil
}

// dropSlot takes back that a slot was made.
func dropSlot(host string, v postgres.Version, name string) (*effect.SQL, error) {
	drop, err := v.DropSlot(name)
	if err != nil {
		return nil, fmt.Errorf("slot: %w", err)
	}
	return &effect.SQL{Host: host, Verb: "drop", What: "slot " + name, Statements: []string{drop},
		Unless: "select not exists (select from pg_replication_slots where slot_name = " + literal(name) + ") as done"}, nil
}

// reserve streams from the standby's host, which may log in by now: pg_hba.conf of these
// versions lets nobody in for replication through the socket.
func (s *Slot) reserve(ctx context.Context, in In, h *facts.Host) (effect.Effect, error) {
	l, err := in.login(ctx, in.Standby, in.Self)
	if err != nil {
		return nil, err
	}
	l.Slot = s.Name
	return &effect.ReserveSlot{Host: in.Self.Name, From: in.Standby.Name, Slot: s.Name, Major: h.Server.BackupVersion().Major(), SystemID: h.Server.SystemID, Login: l}, nil
}

// kept says what a slot keeps from the moment on that it is made.
func kept(atOnce bool) string {
	if atOnce {
		return "physical, keeps WAL from now on"
	}
	return "physical"
}

// forNobody warns of a slot that will look like a forgotten one.
func (s *Slot) forNobody(in In) string {
	if slot.OwnerOf(in.Cluster, in.Self, facts.Slot{Name: s.Name, Type: "physical"}).Use == slot.Orphan {
		for _, h := range in.Cluster.Hosts {
			if h.Slot == s.Name {
				return "; for " + h.Name + ", which the inventory has below " + h.UpstreamName + ": until it is changed there, slot prune drops it while nobody uses it"
			}
		}
		return "; of no host of the inventory: slot prune drops it while nobody uses it"
	}
	return ""
}
