package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// SlotLimit sets how much WAL a slot may keep: max_slot_wal_keep_size (13+).
type SlotLimit struct {
	// Size is as postgresql.conf has it, 10GB, or none.
	Size string `yaml:"size"`
}

var _ Step = (*SlotLimit)(nil)

// limitKind is that of max_slot_wal_keep_size, whose unit is the megabyte.
func limitKind() conf.Kind { return conf.Kind{Vartype: "integer", Unit: "MB"} }

// Validate is called when a plan file is read.
func (s *SlotLimit) Validate() error {
	if s.none() {
		return nil
	}
	c, err := limitKind().Compare(s.Size, "0")
	if err != nil || c < 0 {
		return fmt.Errorf("size %q: want a size such as 10GB, or none", s.Size)
	}
	return nil
}

func (s *SlotLimit) none() bool { return s.Size == "none" }

// value is what stands in postgresql.conf.
func (s *SlotLimit) value() string {
	if s.none() {
		return "-1"
	}
	return s.Size
}

// Plan refuses a limit that a slot is already above: at the next checkpoint that
// slot would lose WAL, and its standby would have to be made anew.
func (s *SlotLimit) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	self := in.Self.Name
	if !h.Server.Running {
		return Planned{}, notRunning(h)
	}
	v := h.Server.Version
	name := v.SlotLimitSetting()
	if name == "" {
		return Planned{}, fault.Refuse(self, fmt.Sprintf("drop forgotten slots: pgrepctl slot prune; or do without slots: %s and an archive keep WAL for standbys", v.KeepWALSetting()),
			errors.New("PostgreSQL "+v.Major()+" cannot limit what a slot keeps (13 can)"))
	}
	for _, set := range in.Self.Postgres.Settings {
		if strings.EqualFold(set.Name, name) && !limitKind().Equal(set.Value, s.value()) {
			return Planned{}, fault.Refuse(self, fmt.Sprintf("write %s: %s there, then type the same command again", name, s.value()),
				fmt.Errorf("the inventory says %s = %s for %s (%s): the next bootstrap would put that back", name, set.Value, self, set.Pos))
		}
	}
	if err := s.refuseAbove(ctx, in, h); err != nil {
		return Planned{}, err
	}
	return (&Conf{Set: map[string]Wanted{name: {Value: s.value()}}}).Plan(ctx, in)
}

func (s *SlotLimit) refuseAbove(ctx context.Context, in In, h *facts.Host) error {
	if s.none() {
		return nil
	}
	for _, x := range h.Server.Slots {
		if x.RetainedBytes == nil || x.WALStatus == "lost" {
			continue
		}
		kept, err := postgres.Version.KeepWAL(postgres.MakeVersion(13), max(*x.RetainedBytes, 0), 1<<20)
		if err != nil {
			return fmt.Errorf("slot limit: %w", err)
		}
		if c, err := limitKind().Compare(s.Size, kept); err != nil || c >= 0 {
			continue
		}
		asked, err := in.whoMayUse(ctx, h)
		if err != nil {
			return err
		}
		owner := slot.OwnerOf(in.Cluster, in.Self, x, asked.peers...)
		doubt := slot.DoubtOf(in.Cluster, in.Self, x, asked.peers...)
		if owner.Use == slot.Orphan && !x.Active && doubt.None() {
			continue // nobody misses it
		}
		whose := "slot " + x.Name
		if owner.Host != "" {
			whose += " of " + owner.Host
		}
		above := fmt.Sprintf("%s keeps %s of WAL already, more than %s: it would lose that at the next checkpoint", whose, kept, s.Size)
		if !doubt.None() {
			why, first := asked.explain(in, doubt)
			return fault.Refuse(in.Self.Name, first+"; or choose a greater limit; or, if nobody needs the slot: "+slot.DropCommand(in.Self.Name, x)+"; then type the same command again",
				errors.New(above+", and somebody may need it: "+why))
		}
		return fault.Refuse(in.Self.Name, "choose a greater limit, or let its receiver catch up; see what each slot keeps: pgrepctl slot list", errors.New(above))
	}
	return nil
}
