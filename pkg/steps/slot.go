package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Slot makes a standby's physical replication slot on its upstream, before the
// backup, so that the WAL from the backup's start on is kept.
type Slot struct {
	Name    string `yaml:"name"`
	Reserve bool   `yaml:"reserve"`
}

var _ Step = (*Slot)(nil)

// Validate is called when a plan file is read.
func (s *Slot) Validate() error {
	if s.Name == "" {
		return nil // the inventory wants none
	}
	return postgres.ValidSlotName(s.Name)
}

// Plan never takes over a slot: one that this run did not make, and that the
// standby does not already use, is somebody else's.
func (s *Slot) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Name == "" {
		return noop("the inventory wants no slots"), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	claim := "slot " + s.Name
	slot, exists := h.Server.Slot(s.Name)
	if !exists {
		return s.create(in, h, claim)
	}
	if slot.WALStatus == "lost" {
		return Planned{}, fault.Refuse(in.Self.Name, "drop it with: select pg_drop_replication_slot("+literal(s.Name)+"); then type the same command again",
			fmt.Errorf("slot %s has lost its WAL", s.Name))
	}
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	ours := in.Run.Claimed(claim) || done
	if slot.Type == "physical" && ours && (!slot.Active || slot.Client == "" || slot.Client == applicationName(in.Standby)) {
		if done {
			return noop("slot %s exists; %s", s.Name, reason), nil
		}
		return noop("slot %s exists: this run made it", s.Name), nil
	}
	who := "nobody uses it now"
	switch {
	case slot.Type != "physical":
		who = "it is a " + slot.Type + " slot"
	case slot.Active:
		who = fmt.Sprintf("%q uses it (server process %d)", slot.Client, slot.ActivePID)
	}
	return Planned{}, fault.Refuse(in.Self.Name,
		fmt.Sprintf("give %s another slot name in the inventory (slot: …), or, if nobody needs it: select pg_drop_replication_slot(%s)", in.Standby.Name, literal(s.Name)),
		fmt.Errorf("slot %s exists and is not this standby's: %s", s.Name, who))
}

func (s *Slot) create(in In, h *facts.Host, claim string) (Planned, error) {
	v := h.Server.Version
	if !v.SlotReservesWAL() {
		return Planned{}, fault.Refuse(in.Self.Name, "", errors.New("PostgreSQL "+v.Major()+" cannot reserve WAL when a slot is made"))
	}
	create, err := v.CreateSlot(s.Name, s.Reserve, false)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	drop, err := v.DropSlot(s.Name)
	if err != nil {
		return Planned{}, fmt.Errorf("slot: %w", err)
	}
	undo := &effect.SQL{Host: in.Self.Name, Verb: "drop", What: "slot " + s.Name, Statements: []string{drop},
		Unless: "select not exists (select from pg_replication_slots where slot_name = " + literal(s.Name) + ") as done"}
	why := "(physical)"
	if s.Reserve {
		why = "(physical, keeps WAL from now on)"
	}
	lsn := postgres.LSN(0)
	return Planned{Effects: []effect.Effect{&effect.SQL{
		Host: in.Self.Name, Verb: "create", What: "slot " + s.Name, Why: why, Statements: []string{create}, Undo: undo, Claims: claim,
		Change: effect.Change{SetSlot: &facts.Slot{Name: s.Name, Type: "physical", RestartLSN: &lsn, WALStatus: "reserved"}},
		Hint:   "see who uses the slots: select slot_name, active from pg_replication_slots",
	}}}, nil
}
