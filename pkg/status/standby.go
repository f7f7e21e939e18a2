package status

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func (r *Row) asStandby(cl *inventory.Cluster, h *inventory.Host, res Result, all map[string]Result) {
	f, up := res.Facts, all[h.UpstreamName].Facts
	r.Role, r.ReplayPaused = inventory.Standby, f.Server.Replay.Paused
	if h.Role == inventory.Primary {
		r.note(Problem, "role-differs", "it is in recovery; the inventory says primary", "name the present primary in the inventory")
	}
	upRuns := up != nil && up.Server.Running
	var sender *facts.Sender
	if upRuns {
		sender = senderOf(up, h)
		r.lag(f, up, sender)
	}
	r.State = streamState(f, sender)
	if upRuns {
		r.compare(h, res, all[h.UpstreamName])
	}
	switch still, since := stuck(res, all[h.UpstreamName]); {
	case still:
		r.State = Stuck
		r.note(Problem, "receiver-stuck", fmt.Sprintf("it has received nothing for %s, while %s wrote on", since.Round(100*time.Millisecond), h.UpstreamName),
			"to have another one started at once, on "+h.Name+": select pg_terminate_backend(pid) from pg_stat_wal_receiver")
	case r.State == NoReceiver && atTarget(f):
		// It receives nothing until it is let go; paused tells.
	case r.State == NoReceiver && h.Role == inventory.Standby && f.ComesOfAge(h.ApplyDelay):
		hint := ""
		if r.SlotState == SlotActive || r.SlotState == SlotInactive {
			hint = "its slot keeps the WAL on " + h.UpstreamName + " meanwhile: watch the space there"
		}
		r.note(Warning, "replays-its-own", fmt.Sprintf("it receives nothing from %s until it has replayed what it has, %s late as it should: after a restart, or a lost connection",
			h.UpstreamName, h.ApplyDelay), hint)
	case r.State == NoReceiver && h.Role == inventory.Standby && !upRuns && cl.Upstream(h) == nil:
		r.note(Problem, "no-receiver", "it receives nothing: "+h.UpstreamName+", its upstream in the inventory, was taken out of the cluster",
			"name another upstream for "+h.Name+" in the inventory; then: pgrepctl standby bootstrap "+h.Name)
	case r.State == NoReceiver && h.Role == inventory.Standby && !upRuns:
		r.note(Problem, "no-receiver", "it receives nothing: "+h.UpstreamName+" is not there to stream from", "bring "+h.UpstreamName+" back first")
	case r.State == NoReceiver && h.Role == inventory.Standby && r.SlotState == SlotLost:
		r.note(Problem, "no-receiver", "it receives nothing from "+h.UpstreamName+", for its slot there is lost", "") // whose note has what to type
	case r.State == NoReceiver && h.Role == inventory.Standby:
		r.note(Problem, "no-receiver", "it receives nothing from "+h.UpstreamName, r.nothingComes(h))
	case r.State == Streaming && sender == nil && upRuns:
		r.note(Warning, "not-recognised", "it streams, and "+up.Name+" shows no walsender by its name",
			"set application_name="+h.Name+" in its primary_conninfo: pgrepctl standby bootstrap "+h.Name)
	}
	r.limits(cl, h, f, all)
	if r.ReplayPaused {
		r.State = Paused
		r.paused(cl, res, all)
	}
	if h.Synchronous && sender != nil && sender.SyncState == "async" {
		r.note(Warning, "not-synchronous", "the inventory says synchronous, and no commit of "+h.UpstreamName+" waits for it", "pgrepctl standby bootstrap "+h.Name)
	}
	r.delayed(h, f)
	if from := f.Server.Replay.SenderHost; from != "" && otherAddress(cl, h, from) {
		r.note(Warning, "other-upstream", fmt.Sprintf("it streams from %s, the inventory says %s", from, h.UpstreamName), "pgrepctl topology")
	}
}

// nothingComes is what to type for a standby that receives nothing, though its upstream is
// there: nothing more where another note has it.
func (r *Row) nothingComes(h *inventory.Host) string {
	if r.noted("diverged") || r.noted("other-system") {
		return ""
	}
	look := "why says the server log of " + h.Name
	if !r.noted("slot-missing") {
		look += "; whether its data can go on: " + anew(h) + " --dry-run"
	}
	return look + "; what is not in place: pgrepctl standby bootstrap " + h.Name + " --dry-run"
}

func (r *Row) noted(id string) bool {
	return slices.ContainsFunc(r.Notes, func(n Note) bool { return n.ID == id })
}

// delayed says how late a standby is to be, and what speaks against it. What its server has in
// recovery_min_apply_delay is not read here, and cannot be told from what it has replayed: a
// bootstrap sets the delay when it streams (12+), and an abort waits for none (9.4 to 18).
func (r *Row) delayed(h *inventory.Host, f *facts.Host) {
	if h.ApplyDelay <= 0 {
		return
	}
	text, hint := "the inventory says that it replays "+h.ApplyDelay.String()+" late", ""
	age := f.Server.Replay.LastReplayAge
	switch {
	case atTarget(f):
		text += "; a server with a recovery target may have another delay, or none"
	case age != nil && *age < h.ApplyDelay.Seconds():
		text += fmt.Sprintf(", and the last transaction that it has replayed is of %s ago", time.Duration(*age*float64(time.Second)).Round(time.Second))
		hint = "whether its server has that delay says: pgrepctl doctor " + h.Name + "; to set it: pgrepctl standby bootstrap " + h.Name
	}
	r.note(Info, "delayed", text, hint)
}

// otherAddress compares only what can be compared without a name service.
func otherAddress(cl *inventory.Cluster, h *inventory.Host, from string) bool {
	up := cl.Upstream(h)
	return up != nil && isAddress(up.Address) && isAddress(from) && !sameAddress(up.Address, from)
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// senderOf finds the walsender of a standby: by its application_name, which is
// the host's name, else by the slot that it holds.
func senderOf(up *facts.Host, h *inventory.Host) *facts.Sender {
	if s, ok := up.Server.SenderOf(h.Name, h.Slot); ok {
		return &s
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

// forgotten is how old a pause is that nobody is likely to want any more, on a standby that
// is not late on purpose.
const forgotten = time.Hour

// paused says why replay is paused, as far as it is known: PostgreSQL does not
// tell who asked for it, nor when. It is a problem when nobody is known to want it.
func (r *Row) paused(cl *inventory.Cluster, res Result, all map[string]Result) {
	if r.noted("limits-too-low") {
		return // it was the server itself
	}
	if atTarget(res.Facts) {
		r.note(Warning, "at-target", "it stands at its recovery target ("+res.Facts.Server.Replay.Target+"): to resume replay there promotes it", "when it is no longer wanted: pgrepctl replay resume "+r.Host+" --follow")
		return
	}
	if run, going := runOn(cl, r.Host, all); run != nil && going {
		r.note(Info, "replay-paused", "replay is paused, while "+run.String()+" is going on", "")
		return
	} else if run != nil {
		r.note(Problem, "replay-paused", "replay is paused since "+run.String()+", which is not finished", "pgrepctl runs resume "+run.ID+"; or: pgrepctl runs undo "+run.ID)
		return
	}
	if p := res.Pause; p != nil {
		severity := Warning
		if h, ok := cl.Host(r.Host); ok && h.ApplyDelay == 0 && res.At.Sub(p.At) > forgotten {
			severity = Problem
		}
		r.note(severity, "replay-paused", fmt.Sprintf("replay is paused since %s, by run %s of %s; its WAL piles up", p.At.UTC().Format("2006-01-02 15:04:05Z"), p.Run, p.Operator),
			"when it is no longer wanted: pgrepctl replay resume "+r.Host)
		return
	}
	text := "replay is paused: it serves older and older data, and its WAL piles up"
	if age := res.Facts.Server.Replay.LastReplayAge; age != nil && (r.LagBytes == nil || *r.LagBytes > 0) {
		text += fmt.Sprintf("; the last transaction that it shows was %s ago", time.Duration(*age*float64(time.Second)).Round(time.Second))
	}
	r.note(Problem, "replay-paused", text, "pgrepctl replay resume "+r.Host)
}

// atTarget reports whether a server was started with a recovery target, and its replay
// is paused. Before 12 the server does not tell.
func atTarget(f *facts.Host) bool {
	return f.Server.Replay.Target != "" && f.Server.Replay.Paused
}

// runOn finds an open run of the cluster that has the host among its variables,
// and whether it is going on.
func runOn(cl *inventory.Cluster, name string, all map[string]Result) (*facts.Run, bool) {
	for _, h := range cl.Hosts {
		f := all[h.Name].Facts
		if f == nil {
			continue
		}
		for _, run := range f.Runs {
			for _, v := range run.Vars {
				if v == name && run.Cluster == cl.Name {
					return &run, f.Server.Holds(run.ID)
				}
			}
		}
	}
	return nil, false
}

// limits finds settings that are lower than the primary's. When their change is
// replayed, the server pauses replay (14 and later) or stops; resumed, it stops.
func (r *Row) limits(cl *inventory.Cluster, h *inventory.Host, f *facts.Host, all map[string]Result) {
	p := all[cl.Primary().Name].Facts
	if p == nil || !p.Server.Running || p.Name == h.Name {
		return
	}
	for _, name := range f.Server.Version.StandbyParameters() {
		here, known := f.Server.Limits[name]
		there, asked := p.Server.Limits[name]
		if !known || !asked || here >= there {
			continue
		}
		then := "it stops when it replays that"
		switch {
		case r.ReplayPaused:
			then = "the server has paused replay, and stops when it is resumed"
		case f.Server.Version.AtLeast(14):
			then = "it pauses when it replays that, and stops when it is resumed"
		}
		r.note(Problem, "limits-too-low", fmt.Sprintf("%s is %d, on %s it is %d: %s", name, here, p.Name, there, then),
			fmt.Sprintf("set %s = %d on %s, then %s", name, there, h.Name, serviceCommand(h, "restart")))
	}
}

// end is how far the WAL of a server goes, 0 of one that does not run.
func end(f *facts.Host) postgres.LSN {
	if !f.Server.Running {
		return 0
	}
	_, at := f.Reached()
	return at
}

// compare asks whether the standby is, or can be, a continuation of its upstream.
func (r *Row) compare(h *inventory.Host, res, upRes Result) {
	f, up := res.Facts, upRes.Facts
	if f.Server.SystemID != up.Server.SystemID {
		r.note(Problem, "other-system", fmt.Sprintf("its system identifier is %s, that of %s is %s", f.Server.SystemID, up.Name, up.Server.SystemID), instead(h))
		return
	}
	diverged := func(how string) {
		r.note(Problem, "diverged", how+": it cannot follow", "save what only "+h.Name+" has; then: "+anew(h))
	}
	tl, upTL := f.Server.Timeline, up.Server.Timeline
	if tl == upTL {
		if r.State == NoReceiver && ahead(res, upRes) {
			diverged(fmt.Sprintf("it has WAL up to %s, and %s ends at %s", end(f), up.Name, end(up)))
		}
		return
	}
	if _, how := f.Parted(up); how != "" {
		diverged(how)
		return
	}
	if tl < upTL && h.ApplyDelay > 0 && (r.State == Streaming || r.State == Paused || f.ComesOfAge(h.ApplyDelay)) {
		r.note(Info, "other-timeline", fmt.Sprintf("it is on timeline %d until it has replayed the promotion of %s, which is on %d, %s late as it should", tl, up.Name, upTL, h.ApplyDelay), "")
		return
	}
	r.note(Problem, "other-timeline", fmt.Sprintf("it is on timeline %d, %s is on %d", tl, up.Name, upTL), "if it stays so: "+anew(h))
}

// lag compares positions that the upstream saw at one moment; those of two hosts
// were read at two.
func (r *Row) lag(f, up *facts.Host, sender *facts.Sender) {
	replayed := f.Server.LSN
	if sender != nil && sender.Replay != nil {
		replayed = *sender.Replay
	}
	now := end(up)
	if now == 0 || replayed == 0 {
		return
	}
	behind := max(now.Sub(replayed), 0)
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
