package status

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

func build(cl *inventory.Cluster, h *inventory.Host, res Result, all map[string]Result) Row {
	row := Row{Host: h.Name, InventoryRole: h.Role, Upstream: h.UpstreamName, Slot: h.Slot}
	if res.Facts == nil {
		row.State = Unreachable
		text := "nothing is known of it"
		hint := ""
		if res.Err != nil {
			text = res.Err.Error()
		}
		var f *fault.Error
		if errors.As(res.Err, &f) {
			hint = f.Hint
		}
		// The row names the host already.
		row.note(Problem, "unreachable", strings.TrimPrefix(text, h.Name+": "), hint)
		up := all[h.UpstreamName].Facts
		row.slot(up)
		return row
	}
	f, up := res.Facts, all[h.UpstreamName].Facts
	row.slot(up)
	row.runs(cl, f)
	if !f.Server.Running {
		row.withoutServer(f, all)
		return row
	}
	row.Version, row.Timeline, row.LSN = f.Server.Version.String(), f.Server.Timeline, f.Server.LSN.String()
	row.PendingRestart = f.Server.PendingRestart
	if f.Server.InRecovery {
		row.asStandby(cl, h, f, up)
	} else {
		row.asPrimary(cl, h, f, all[cl.Primary().Name].Facts)
	}
	if f.Data.State == facts.Cluster && f.Data.Path != f.Server.DataDirectory && f.Data.PID == 0 {
		row.note(Problem, "another-server", fmt.Sprintf("the server on port %d has data directory %s, the inventory says %s",
			h.Postgres.Port, f.Server.DataDirectory, f.Data.Path), "correct port or data_directory in the inventory")
	}
	if len(row.PendingRestart) > 0 {
		row.note(Warning, "pending-restart", "changed, and waiting for a restart: "+strings.Join(row.PendingRestart, ", "), "")
	}
	if f.Server.Archiver.Failing() {
		row.note(Warning, "archiving-fails", "archiving of "+f.Server.Archiver.FailedFile+" fails; WAL piles up", "see the server log of "+h.Name)
	}
	return row
}

// runs names those that owe something, of whatever operator: their journals are
// copied to the primary.
func (r *Row) runs(cl *inventory.Cluster, f *facts.Host) {
	for _, run := range f.Runs {
		switch {
		case run.Cluster != cl.Name:
		case f.Server.Holds(run.ID):
			r.note(Info, "run-going-on", run.String()+" is going on", "pgrepctl runs show "+run.ID)
		default:
			r.note(Warning, "run-interrupted", run.String()+" is not finished", "pgrepctl runs resume "+run.ID+", or pgrepctl runs undo "+run.ID)
		}
	}
}

// unfinished finds the run that may be at work on a host, by its id or, with an
// empty one, any, and whether it is going on.
func unfinished(all map[string]Result, id string) (open, going bool) {
	for _, res := range all {
		if res.Facts == nil {
			continue
		}
		for _, run := range res.Facts.Runs {
			if id == "" || run.ID == id {
				open, going = true, going || res.Facts.Server.Holds(run.ID)
			}
		}
	}
	return open, going
}

func (r *Row) withoutServer(f *facts.Host, all map[string]Result) {
	switch {
	case f.Data.PID != 0:
		r.State = Starting
		r.note(Problem, "not-ready", fmt.Sprintf("process %d runs and accepts no session: %s", f.Data.PID, f.Server.NotReady), "")
	case f.Data.State == facts.Partial:
		r.State = Partial
		if _, going := unfinished(all, f.Data.Marker.Run); going {
			r.note(Info, "copy-going-on", fmt.Sprintf("run %s copies from %s", f.Data.Marker.Run, f.Data.Marker.Source), "")
			return
		}
		r.note(Problem, "partial-copy", fmt.Sprintf("the copy from %s by run %s did not end", f.Data.Marker.Source, f.Data.Marker.Run),
			"pgrepctl runs resume "+f.Data.Marker.Run)
	case f.Data.State == facts.Cluster:
		r.State = Down
		r.note(Problem, "down", "no server runs; its data directory was "+f.Data.Control.State.String(), "")
	case f.Data.State == facts.Foreign:
		r.State = Foreign
		text := f.Data.Path + " is no data directory"
		if f.Data.Note != "" {
			text += ": " + f.Data.Note
		}
		r.note(Problem, "foreign-data", text, "")
	default:
		r.State = Empty
		hint := ""
		// While a run is open no other begins; its own note has the command.
		if open, _ := unfinished(all, ""); r.InventoryRole == inventory.Standby && !open {
			hint = "pgrepctl standby bootstrap " + r.Host
		}
		r.note(Problem, "empty", "no data directory in "+f.Data.Path, hint)
	}
}

func (r *Row) asPrimary(cl *inventory.Cluster, h *inventory.Host, f, primary *facts.Host) {
	r.Role, r.State = inventory.Primary, Running
	if h.Role == inventory.Primary {
		r.strangeSlots(cl, h, f)
		return
	}
	r.State = Twin
	switch {
	case primary == nil || !primary.Server.Running:
		r.note(Problem, "role-differs", "it takes writes; the inventory says standby", "stop it, or make it the primary in the inventory")
	case primary.Server.SystemID == f.Server.SystemID:
		r.note(Problem, "writable-twin", "it takes writes, and is a twin of "+primary.Name+": what is written here is lost",
			"stop it now; save what was written on it; then make it anew in an empty data directory: pgrepctl standby bootstrap "+h.Name)
	default:
		r.note(Problem, "other-system", fmt.Sprintf("it takes writes, and is another system (%s) than %s (%s)",
			f.Server.SystemID, primary.Name, primary.Server.SystemID), "correct its address or port in the inventory")
	}
}

// strangeSlots names slots that nobody of the inventory uses: they keep WAL for
// ever, until the disk is full.
func (r *Row) strangeSlots(cl *inventory.Cluster, h *inventory.Host, f *facts.Host) {
	wanted := []string{}
	for _, d := range cl.Downstreams(h) {
		wanted = append(wanted, d.Slot)
	}
	for _, s := range f.Server.Slots {
		if !s.Active && !s.Temporary && !slices.Contains(wanted, s.Name) {
			text := "slot " + s.Name + " is used by nobody"
			if s.RetainedBytes != nil {
				text += fmt.Sprintf(" and keeps %d bytes of WAL", *s.RetainedBytes)
			}
			r.note(Warning, "strange-slot", text, "if nobody needs it: select pg_drop_replication_slot('"+s.Name+"')")
		}
	}
}

func (r *Row) asStandby(cl *inventory.Cluster, h *inventory.Host, f, up *facts.Host) {
	r.Role, r.ReplayPaused = inventory.Standby, f.Server.Replay.Paused
	if h.Role == inventory.Primary {
		r.note(Problem, "role-differs", "it is in recovery; the inventory says primary", "name the present primary in the inventory")
	}
	var sender *facts.Sender
	if up != nil && up.Server.Running {
		sender = senderOf(up, h)
		r.compare(f, up)
		r.lag(f, up, sender)
	}
	r.State = streamState(f, sender)
	if r.State == NoReceiver && h.Role == inventory.Standby {
		r.note(Problem, "no-receiver", "it receives nothing from "+h.UpstreamName, "its server log says why")
	}
	if r.State == Streaming && sender == nil && up != nil && up.Server.Running {
		r.note(Warning, "not-recognised", "it streams, and "+up.Name+" shows no walsender by its name",
			"set application_name="+h.Name+" in its primary_conninfo: pgrepctl standby bootstrap "+h.Name)
	}
	if r.ReplayPaused {
		r.State = Paused
		r.note(Problem, "replay-paused", "replay is paused: it serves older and older data, and its WAL piles up", "on "+h.Name+": select pg_wal_replay_resume()")
	}
	if h.ApplyDelay > 0 {
		r.note(Info, "delayed", "it replays "+h.ApplyDelay.String()+" late, as the inventory says", "")
	}
	if from := f.Server.Replay.SenderHost; from != "" && otherAddress(cl, h, from) {
		r.note(Warning, "other-upstream", fmt.Sprintf("it streams from %s, the inventory says %s", from, h.UpstreamName), "")
	}
	r.strangeSlots(cl, h, f)
}

// otherAddress compares only what can be compared without a name service.
func otherAddress(cl *inventory.Cluster, h *inventory.Host, from string) bool {
	up := cl.Upstream(h)
	if up == nil || up.Address == from {
		return false
	}
	a, err1 := netip.ParseAddr(up.Address)
	b, err2 := netip.ParseAddr(from)
	return err1 == nil && err2 == nil && a != b
}

// senderOf finds the walsender of a standby: by its application_name, which is
// the host's name, else by the slot that it holds.
func senderOf(up *facts.Host, h *inventory.Host) *facts.Sender {
	if s, ok := up.Server.Sender(h.Name); ok {
		return &s
	}
	slot, ok := up.Server.Slot(h.Slot)
	if !ok || !slot.Active {
		return nil
	}
	for _, s := range up.Server.Senders {
		if s.PID == slot.ActivePID {
			return &s
		}
	}
	return nil
}

func streamState(f *facts.Host, sender *facts.Sender) State {
	switch {
	case sender != nil && sender.State == "streaming":
		return Streaming
	case sender != nil && (sender.State == "catchup" || sender.State == "startup"):
		return Catchup
	case f.Server.Replay.ReceiverStatus == "streaming":
		return Streaming
	}
	return NoReceiver
}

func (r *Row) compare(f, up *facts.Host) {
	if f.Server.SystemID != up.Server.SystemID {
		r.note(Problem, "other-system", fmt.Sprintf("its system identifier is %s, that of %s is %s", f.Server.SystemID, up.Name, up.Server.SystemID),
			"move its data directory away, then: pgrepctl standby bootstrap "+r.Host)
		return
	}
	if f.Server.Timeline != up.Server.Timeline {
		r.note(Problem, "other-timeline", fmt.Sprintf("it is on timeline %d, %s is on %d", f.Server.Timeline, up.Name, up.Server.Timeline),
			"if it stays so, move its data directory away, then: pgrepctl standby bootstrap "+r.Host)
	}
}

// lag compares positions that the upstream saw at one moment; those of two hosts
// were read at two.
func (r *Row) lag(f, up *facts.Host, sender *facts.Sender) {
	replayed := f.Server.LSN
	if sender != nil && sender.Replay != nil {
		replayed = *sender.Replay
	}
	if up.Server.LSN == 0 || replayed == 0 {
		return
	}
	behind := max(up.Server.LSN.Sub(replayed), 0)
	r.LagBytes = &behind
	switch {
	case behind == 0:
		zero := 0.0
		r.LagSeconds = &zero
	case sender != nil && sender.ReplayLag != nil:
		r.LagSeconds = sender.ReplayLag
	case behind >= muchWAL || r.ReplayPaused || sender == nil:
		// On a primary that writes little it says more of the primary.
		r.LagSeconds = f.Server.Replay.LastReplayAge
	}
}

// muchWAL is one WAL segment of the usual size: a standby that is behind by less
// is not late, whenever the last transaction was.
const muchWAL = 16 << 20

func (r *Row) slot(up *facts.Host) {
	if r.Slot == "" || up == nil || !up.Server.Running {
		return
	}
	s, ok := up.Server.Slot(r.Slot)
	r.RetainedBytes = s.RetainedBytes
	switch {
	case !ok:
		r.SlotState = SlotMissing
		r.note(Problem, "slot-missing", "slot "+r.Slot+" does not exist on "+up.Name+": WAL that it needs can go", "pgrepctl standby bootstrap "+r.Host+" makes it")
	case s.WALStatus == "lost":
		r.SlotState = SlotLost
		r.note(Problem, "slot-lost", "slot "+r.Slot+" on "+up.Name+" has lost WAL that it needs", "drop it, move the data directory of "+r.Host+" away, then: pgrepctl standby bootstrap "+r.Host)
	case s.Active:
		r.SlotState = SlotActive
	default:
		r.SlotState = SlotInactive
		r.note(Warning, "slot-inactive", "slot "+r.Slot+" on "+up.Name+" is used by nobody and keeps WAL", "")
	}
	if ok && s.WALStatus == "unreserved" {
		r.note(Problem, "slot-unreserved", "slot "+r.Slot+" on "+up.Name+" loses its WAL at the next checkpoint", "bring "+r.Host+" back at once")
	}
}
