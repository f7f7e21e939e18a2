package steps

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// A delayed standby is not waited for when it is re-pointed. Its walreceiver ends with its
// upstream, with its own restart (before 13), or, when primary_conninfo is reloaded, at the
// next WAL file that it replays: the startup process looks at the request only there. It
// starts another when it has replayed all the WAL that it has, each transaction at its time,
// which takes as long as the delay.

// moved reports whether nothing is left to be done for it to stream from there.
func (m moves) moved(ctx context.Context, in In) (bool, error) {
	owed := slices.ContainsFunc(in.Run.Owed(in.Self.Name), func(x Settle) bool { return x.Why == "primary_conninfo" })
	if m.line.value != m.conninfo || owed || !m.self.Server.Running {
		return false, nil
	}
	switch {
	case m.streams(in):
		return true, nil
	case in.Self.ApplyDelay == 0:
		return false, nil
	case !m.v.PrimaryConninfoReloads():
		return true, nil // it was started with what is written
	}
	settings, err := m.self.Settings(ctx)
	if err != nil {
		return false, err
	}
	has, ok := settings.Lookup("primary_conninfo")
	return !ok || has.Value == m.conninfo, nil
}

func (m moves) streams(in In) bool {
	sender, ok := m.up.Server.Sender(applicationName(in.Self))
	return ok && sender.State == "streaming"
}

// late reports whether it is a delayed one that is set to the other host, and does not
// stream from there yet. Nobody else uses its slot there.
func (m moves) late(in In) bool {
	have, _ := m.up.Server.Slot(in.Self.Slot)
	return in.Self.ApplyDelay > 0 && m.line.value == m.conninfo && !m.streams(in) && !have.Active
}

// there is said where nothing is to be done.
func (m moves) there(in In) Planned {
	if !m.late(in) {
		return noop("it streams from %s", m.to.Name)
	}
	p := noop("it replays what it has, %s late as it should, and streams from %s after that", in.Self.ApplyDelay, m.to.Name)
	if in.Run.Changed(in.Self.Name) {
		p.Held = []Held{m.unproven(in)}
	}
	return p
}

func (m moves) unproven(in In) Held {
	return Held{What: "whether it streams from " + m.to.Name + " is not proven: it replays what it has first, " + in.Self.ApplyDelay.String() + " late as it should",
		Hint: "when that is done: pgrepctl standby verify " + in.Self.Name, Note: true}
}

// refuseCutOff: WAL that a delayed standby has not received, while it has no walreceiver, is
// kept for it by the host that goes; the slot on the other one keeps WAL from now on only.
// A standby that is waited for is seen to lack WAL while both are there.
func (s *Repoint) refuseCutOff(ctx context.Context, in In, m moves) error {
	if s.From == "" || in.Self.ApplyDelay == 0 || m.line.value == m.conninfo || in.Run.Changed(in.Self.Name) || len(in.Cluster.Archives) > 0 {
		return nil
	}
	old, err := in.Facts.Of(ctx, in.Standby.Name)
	if err != nil {
		return err
	}
	if _, receives := old.Server.Sender(applicationName(in.Self)); receives {
		return nil
	}
	return fault.Refuse(in.Self.Name, fmt.Sprintf("wait until it streams from %[1]s (pgrepctl status tells), then type the same command again; if %[1]s is lost for good: pgrepctl standby retire %[1]s --gone --repoint-to %[2]s", old.Name, m.to.Name),
		fmt.Errorf("it receives nothing from %s now, and what it lacks may be on no other host: it asks %s for that when it has replayed what it has, %s late as it should", old.Name, m.to.Name, in.Self.ApplyDelay))
}
