package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// What becomes of the data that a standby has when it is seeded again.
const (
	overwritten = "overwritten" // in place, by what differs
	erased      = "erased"
	keptAside   = "kept" // renamed, until somebody removes them
)

func oldData(become string, more ...string) error {
	if known := append([]string{overwritten, erased, keptAside}, more...); !slices.Contains(known, become) {
		return fmt.Errorf("old data %q: want %s", become, strings.Join(known, ", "))
	}
	return nil
}

// Reseedable says why a standby has to be seeded again, and refuses when nothing says
// so, or when what lies there is not proved to be of this cluster.
type Reseedable struct {
	// Old is what becomes of its data: overwritten, erased, or kept.
	Old string `yaml:"old"`
	// Force: also one that lacks nothing, or that others stream from.
	Force bool `yaml:"force"`
}

var _ Step = (*Reseedable)(nil)

// Validate is called when a plan file is read.
func (s *Reseedable) Validate() error { return oldData(s.Old) }

// Plan never has effects.
func (s *Reseedable) Plan(ctx context.Context, in In) (Planned, error) {
	if in.Run.Changed(in.Self.Name) {
		return noop("this run has begun"), nil
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !uf.Server.Running {
		return Planned{}, notRunning(uf)
	}
	if err := s.refuseOther(ctx, in, h, uf); err != nil {
		return Planned{}, err
	}
	why, err := in.reseedCauses(ctx, h, up, uf)
	if err != nil {
		return Planned{}, err
	}
	if len(why) == 0 && !s.Force {
		return Planned{}, refuseNeedless(in, h, uf)
	}
	if err := s.refuseDownstreams(in, h); err != nil {
		return Planned{}, err
	}
	if err := s.refuseOld(ctx, in, h, uf); err != nil {
		return Planned{}, err
	}
	seen, err := s.examine(ctx, in, h)
	if err != nil {
		return Planned{}, err
	}
	text := "asked for, though nothing says that it is needed"
	if len(why) > 0 {
		text = "needed: " + strings.Join(why, "; ")
	}
	if len(seen) > 0 {
		text += fmt.Sprintf("; %d warnings: pgrepctl doctor %s", len(seen), in.Self.Name)
	}
	return noop("%s", text), nil
}

// refuseOld says no where what is asked for cannot become of the old data, or not
// without a loss, before the server is stopped for it.
func (s *Reseedable) refuseOld(ctx context.Context, in In, h, uf *facts.Host) error {
	if s.Old == keptAside {
		return refuseAside(in, h)
	}
	if s.Old == overwritten && h.Data.State == facts.Cluster {
		if err := refuseOtherFormat(in, h, uf); err != nil {
			return err
		}
	}
	if err := in.refuseDropped(ctx, h, uf); err != nil || s.Old != overwritten || h.Data.Marker.WasEmpty {
		return err // or all that is there is of a copy
	}
	// What stays must be known: the copy takes away whatever it is not told of.
	if _, err := in.ownFiles(ctx, h); err != nil {
		return &fault.Error{Class: fault.ClassOf(err), Host: in.Self.Name, Op: "find what is its own in " + h.Data.Path, Err: err,
			Hint: "mend that, then type the same command again; or: pgrepctl standby reseed " + in.Self.Name + " --wipe, or --keep-old"}
	}
	return nil
}

// refuseOther says no to whatever is not a standby of this system, or one that ended.
func (s *Reseedable) refuseOther(ctx context.Context, in In, h, uf *facts.Host) error {
	d := h.Data
	switch d.State {
	case facts.Absent, facts.Empty:
		return fault.Refuse(in.Self.Name, "pgrepctl standby bootstrap "+in.Self.Name, fmt.Errorf("%s is empty: there is nothing to seed again", d.Path))
	case facts.Partial:
		return in.refuseForeignCopy(d, uf.Server.SystemID)
	case facts.Foreign:
		return fault.Refuse(in.Self.Name, "look at it; if nobody needs it move it away, then: pgrepctl standby bootstrap "+in.Self.Name,
			fmt.Errorf("%s cannot be proved to hold data of this cluster (%s): it is not touched", d.Path, strings.TrimPrefix(d.Note+fmt.Sprintf("; it holds %v", d.Sample), "; ")))
	}
	if err := in.refuseNotOurs(ctx, h); err != nil {
		return err
	}
	if d.PID != 0 && !h.Server.Running && !d.Standby {
		return fault.Refuse(in.Self.Name, "wait until it answers, or stop it by hand, then type the same command again",
			fmt.Errorf("its server lives (process %d), cannot be asked (%s), and is no standby by its files", d.PID, h.Server.NotReady))
	}
	return nil
}

func refuseNeedless(in In, h, uf *facts.Host) error {
	text, hint := "it does not stream, and neither its files nor "+uf.Name+" say why: read its log", "mend what it says there; or, if it is to be seeded again all the same: pgrepctl standby reseed "+in.Self.Name+" --force"
	if sender, ok := uf.Server.Sender(applicationName(in.Self)); ok && sender.State == "streaming" {
		text, hint = "nothing is wrong with it: it streams from "+uf.Name, "if its data are damaged: pgrepctl standby reseed "+in.Self.Name+" --force"
	} else if h.Data.PID == 0 {
		text, hint = "nothing says that it could not go on: its server does not run", "start it; or, if its data are damaged: pgrepctl standby reseed "+in.Self.Name+" --force"
	}
	return fault.Refuse(in.Self.Name, hint, errors.New(text))
}

// refuseDownstreams: whoever streams from it is cut off while it is copied, and lacks
// WAL after that, which the new copy does not have.
func (s *Reseedable) refuseDownstreams(in In, h *facts.Host) error {
	if s.Force || len(h.Server.Senders) == 0 {
		return nil
	}
	name := h.Server.Senders[0].Application
	return fault.Refuse(in.Self.Name, fmt.Sprintf("say another upstream for %s in the inventory, then: pgrepctl apply; or, if %s shall be seeded again after it: pgrepctl standby reseed %s --force", name, name, in.Self.Name),
		fmt.Errorf("%q streams from it, and what it needs next will not be in the new copy", name))
}

// refuseAside: a directory that is a file system of its own, or is reached through a
// link, cannot be renamed and still be what its name says.
func refuseAside(in In, h *facts.Host) error {
	const hint = "without --keep-old: what differs is overwritten in place; or with --wipe"
	switch dir := in.Self.Postgres.DataDirectory; {
	case h.Data.State == facts.Partial:
		return fault.Refuse(in.Self.Name, hint, fmt.Errorf("%s holds an unfinished copy: there is nothing to keep", dir))
	case h.Data.MountPoint:
		return fault.Refuse(in.Self.Name, hint, fmt.Errorf("%s is a mount point: it cannot be renamed", dir))
	case h.Data.Path != dir:
		return fault.Refuse(in.Self.Name, hint, fmt.Errorf("%s is reached through a symbolic link, and is really %s", dir, h.Data.Path))
	case in.Self.Postgres.WALDirectory != "":
		return fault.Refuse(in.Self.Name, hint, fmt.Errorf("its WAL is elsewhere, in %s, and would have to be kept too", in.Self.Postgres.WALDirectory))
	}
	return nil
}

// refuseOtherFormat: files of another format cannot be brought up to date block by block.
func refuseOtherFormat(in In, h, uf *facts.Host) error {
	a, b := h.Data.Control, uf.Data.Control
	differs := func(what string, here, there any) error {
		return fault.Refuse(in.Self.Name, "pgrepctl standby reseed "+in.Self.Name+" --wipe, or --keep-old",
			fmt.Errorf("its data cannot be brought up to date in place: %s is %v, on %s it is %v", what, here, uf.Name, there))
	}
	switch {
	case b.SystemID == 0: // of the upstream's file nothing is known
	case a.CatalogVersion != b.CatalogVersion:
		return differs("the catalog version", a.CatalogVersion, b.CatalogVersion)
	case a.BlockSize != b.BlockSize:
		return differs("the block size", a.BlockSize, b.BlockSize)
	case a.RelationSegment != b.RelationSegment:
		return differs("the size of relation files", a.RelationSegment, b.RelationSegment)
	case a.WALSegmentSize != b.WALSegmentSize:
		return differs("the size of WAL files", a.WALSegmentSize, b.WALSegmentSize)
	case a.DataChecksumVersion != b.DataChecksumVersion:
		return differs("the version of data checksums", a.DataChecksumVersion, b.DataChecksumVersion)
	}
	return nil
}

// examine runs the checks of doctor for a copy that is about to come. Data that are
// kept take their space, so the new ones need as much again.
func (s *Reseedable) examine(ctx context.Context, in In, h *facts.Host) ([]string, error) {
	to := *h
	if s.Old == keptAside {
		to.Data = facts.DataDir{Path: h.Data.Path, State: facts.Absent}
		to.Machine.PortInUse = h.Machine.PortInUse && h.Data.PID == 0
	}
	return examine(ctx, in, &to, doctor.Scope{Standby: in.Self.Name, Run: in.Run.ID(), Reseed: true, Emptied: s.Old != overwritten})
}
