package check

import (
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Cluster is what one host is judged against.
type Cluster struct {
	// Primary are the positions of the primary.
	Primary Positions
	// SystemID is that of the servers that may have traffic, empty when it is not known.
	SystemID string
	// Writer is the host that writes go to, empty when no server may have any.
	Writer string
	// Writes is where they went last.
	Writes Writes
	// Sync are the sync states of standbys by host, as their upstreams say.
	Sync map[string]string
	// Plans are what runs did to hosts, by host.
	Plans map[string]Plan
}

// memoryGap is how long what was seen of a host counts for the next look: how far behind it
// was, and whether a health file was there.
const memoryGap = 15 * time.Minute

// Judge says whether a host may have traffic now. prev is what was said before, nil
// at the first look: then there is nothing to hold against a host that is not
// above a maximum.
func (p Policy) Judge(m Member, o Observation, c Cluster, prev *State) State {
	s := State{Host: m.Name, Since: o.At, Seen: o.At}
	if prev != nil {
		s.Since, s.Strikes, s.Expected, s.InMaint, s.Maint = prev.Since, prev.Strikes, prev.Expected, prev.InMaint, prev.Maint
		if s.Since.After(o.At) {
			s.Since = o.At // the clock was set back
		}
	}
	if o.Err != "" {
		p.unanswered(&s, o, c, prev)
		return s.settle(p, m, o.At, prev)
	}
	filesKnown := s.files(o, prev)
	srv := o.Server
	s.Timeline, s.Receiver, s.Paused, s.Sync = srv.Timeline, srv.Replay.ReceiverStatus, srv.Replay.Paused, c.Sync[m.Name]
	switch {
	case !srv.Running && srv.NotReady != "":
		s.out(NotReady, "no session is accepted: "+srv.NotReady)
	case !srv.Running:
		s.out(Down, "no server runs")
	case !srv.InRecovery:
		s.Role = inventory.Primary
		s.asWriter(m, o, c)
	default:
		s.Role = inventory.Standby
		p.asReader(&s, m, o, c, prev)
		if s.In && !filesKnown {
			s.out(FilesUnknown, "whether its health file keeps traffic away cannot be told")
			s.Run = ""
		}
	}
	return s.settle(p, m, o.At, prev)
}

func (s *State) out(r Reason, why string) { s.In, s.Reason, s.Why = false, r, why }
func (s *State) in(r Reason, why string)  { s.In, s.Reason, s.Why = true, r, why }

// unanswered keeps a host in that was so a moment ago, or out as it was planned: one lost
// packet is no news, unless somebody else has the writes by now.
func (p Policy) unanswered(s *State, o Observation, c Cluster, prev *State) {
	s.Seen = time.Time{}
	if prev != nil {
		since, strikes, expected := s.Since, s.Strikes, s.Expected
		*s = *prev
		s.Since, s.Strikes, s.Expected = since, strikes, expected
		s.GoodSince = time.Time{}
		if s.Seen.After(o.At) {
			s.Seen = o.At
		}
		replaced := prev.In && prev.Role == inventory.Primary && c.Writer != "" && c.Writer != s.Host
		if ago := o.At.Sub(s.Seen); (prev.In || prev.Expected) && !replaced && !o.Refused && !s.Seen.IsZero() && ago <= p.Grace {
			if prev.In {
				s.Why = "no answer for " + span(ago)
			}
			return
		}
	}
	s.PausedIn = false // it went out for another cause now
	s.forget()
	s.out(Unreachable, o.Err)
}

// forget takes away what was measured: what it was says nothing of what it is. The role
// stays, for settle.
func (s *State) forget() {
	s.LagBytes, s.LagSeconds, s.LagSecondsAtLeast, s.Receiver, s.Sync, s.Nearer, s.Run = nil, nil, nil, "", "", 0, ""
}

// files notes whether a health file is there. One that cannot be looked for is as it was,
// but not for long: an operator may have made it, or taken it away. false: it is not known.
func (s *State) files(o Observation, prev *State) bool {
	if !o.FilesUnknown {
		s.KeptOut, s.FilesAt = o.KeptOut, o.At
		return true
	}
	if prev == nil || prev.FilesAt.IsZero() {
		return false
	}
	s.KeptOut, s.FilesAt = prev.KeptOut, prev.FilesAt
	if s.FilesAt.After(o.At) {
		s.FilesAt = o.At // the clock was set back
	}
	return o.At.Sub(s.FilesAt) <= memoryGap
}

// asWriter judges a server that takes writes. A run that drains it, and a health file, keep
// reads away alone: it may have been promoted since.
func (s *State) asWriter(m Member, o Observation, c Cluster) {
	timeline := o.Server.Timeline
	switch {
	case strange(c.SystemID, o.Server.SystemID):
		s.ofOther(o, c)
	case m.Closed:
		s.out(Closed, "the inventory keeps traffic away (traffic: none)")
	case c.Writes.passed(m.Name, timeline):
		s.out(Twin, fmt.Sprintf("it takes writes on timeline %d, and they went on to %s on timeline %d", timeline, c.Writes.Host, c.Writes.Timeline))
	case c.Writer != "" && c.Writer != m.Name:
		s.out(Twin, "it takes writes, and so does "+c.Writer)
	case m.Delay > 0:
		s.out(Delayed, fmt.Sprintf("it takes writes, and the inventory says that it replays %s late", span(m.Delay)))
	case c.Writer == "":
		s.out(Twin, "it takes writes, and "+c.Writes.Host+" had them last")
	default:
		s.in(OK, "takes writes")
	}
}

// ofOther is for a server of another system, whatever else is with it: not one of its rows
// is of this cluster.
func (s *State) ofOther(o Observation, c Cluster) {
	s.out(OtherSystem, fmt.Sprintf("its system identifier is %s, that of the primary is %s", o.Server.SystemID, c.SystemID))
}

func (s *State) byRun(r Reason, plan Plan, does string) {
	s.out(r, plan.String()+" "+does)
	s.Run = plan.Run
}

// asReader judges a standby: first what rules it out whatever its lag is, then its
// lag, with what was said before.
func (p Policy) asReader(s *State, m Member, o Observation, c Cluster, prev *State) {
	r := o.Server.Replay
	lag := LagOf(o, c.Primary, c.Writer != "")
	s.measure(o, lag, prev)
	plan, planned := c.Plans[m.Name]
	was := prev != nil && prev.In && prev.Role != inventory.Primary
	switch {
	case strange(c.SystemID, o.Server.SystemID):
		s.ofOther(o, c)
	case m.Closed:
		s.out(Closed, "the inventory keeps traffic away (traffic: none)")
	case m.Delay > 0:
		s.out(Delayed, fmt.Sprintf("it replays %s late, as the inventory says", span(m.Delay)))
	case planned && plan.Drained:
		s.byRun(Drained, plan, "keeps traffic away")
	case s.KeptOut:
		s.out(Drained, "its health file keeps traffic away (pgrepctl traffic restore "+m.Name+")")
	case r.Paused && planned && plan.Paused && plan.Going:
		// It serves an older state by intent; the run moves the traffic.
		s.byRun(Held, plan, "paused replay")
		s.In = was || prev == nil && !over(p, lag)
		if prev != nil && prev.PausedIn {
			s.In, s.Strikes = true, max(s.Strikes-1, 0)
		}
	case r.Paused:
		why := "replay is paused: it serves older and older data"
		if planned && plan.Paused {
			why += "; " + plan.String() + " paused it"
			s.Run = plan.Run
		}
		// Of a run that is known, and does not go on, it is no question any more.
		s.PausedIn = was || prev != nil && prev.PausedIn && s.Run == ""
		s.out(Paused, why)
	default:
		p.byLag(s, lag, o, c, prev, was)
	}
}

func over(p Policy, l Lag) bool {
	_, is := p.over(l)
	return is
}

// measure fills in what is shown of the lag, and what is remembered of it.
func (s *State) measure(o Observation, lag Lag, prev *State) {
	s.LagBytes, s.LagSeconds, s.LagSecondsAtLeast = lag.Bytes, seconds(lag.AtMost), seconds(lag.AtLeast)
	if o.Server.Replay.Replay != nil {
		s.Replay = *o.Server.Replay.Replay
	}
	s.ReplayMoved = o.At
	if prev == nil || prev.Role != inventory.Standby {
		return
	}
	idle := lag.Bytes != nil && *lag.Bytes == 0
	// It stands still only while there is something to replay.
	had := prev.LagBytes != nil && *prev.LagBytes > 0
	if s.Replay == prev.Replay && !idle && had && !prev.ReplayMoved.IsZero() && prev.ReplayMoved.Before(o.At) {
		s.ReplayMoved = prev.ReplayMoved
	}
	dt := o.At.Sub(prev.Seen).Seconds()
	if lag.Bytes == nil || prev.LagBytes == nil || dt <= 0 || dt > memoryGap.Seconds() {
		return
	}
	// Half of what was, half of what is: bursts are the rule.
	s.Nearer = prev.Nearer/2 + float64(*prev.LagBytes-*lag.Bytes)/dt/2
	if idle {
		s.Nearer = 0
	}
}

// stands is how long a standby has replayed nothing though there is something. What
// it has not received it lacks through no fault of its replay, and from a primary
// that is gone it will not receive it.
func (s *State) stands(lag Lag, o Observation, c Cluster) time.Duration {
	r := o.Server.Replay
	if lag.Bytes == nil || *lag.Bytes == 0 {
		return 0
	}
	if r.Receive != nil && r.Replay != nil && *r.Receive > *r.Replay {
		return o.At.Sub(s.ReplayMoved)
	}
	return c.Primary.until(o, c.Writer != "").Sub(s.ReplayMoved)
}

func (p Policy) byLag(s *State, lag Lag, o Observation, c Cluster, prev *State, was bool) {
	streams := s.Receiver == "streaming"
	r, tooMuch := p.over(lag)
	stands := s.stands(lag, o, c)
	switch {
	case p.Stall > 0 && stands >= p.Stall:
		s.out(Stuck, fmt.Sprintf("it has %s to replay and has replayed nothing for %s", postgres.PrettyBytes(*lag.Bytes), span(stands)))
	case tooMuch:
		s.out(r, p.tooMuch(r, lag))
		if s.Nearer > 0 {
			s.out(CatchingUp, s.Why+"; "+s.approach(p))
		}
	case was, prev == nil && streams:
		s.in(OK, said(lag, streams))
	case !streams:
		s.out(NoReceiver, "it receives nothing; "+said(lag, true))
	case lag.Bytes == nil && lag.AtMost == nil:
		s.out(LagUnknown, "its lag is not known")
	case !p.under(lag):
		s.out(CatchingUp, fmt.Sprintf("%s; in again below %s", said(lag, true), p.low()))
		if s.Nearer > 0 {
			s.Why += "; " + s.approach(p)
		}
	default:
		p.comeIn(s, lag, o, prev)
	}
}

// comeIn is the hold-down of a host that is out and fit to come in.
func (p Policy) comeIn(s *State, lag Lag, o Observation, prev *State) {
	hold := p.hold(s.Strikes)
	s.GoodSince = o.At
	// Who was fit at the last look as well has been so since, as far as anybody can tell. Looks
	// may be an hour apart, and it has to come in some time.
	if prev != nil && !prev.GoodSince.IsZero() && !prev.GoodSince.After(o.At) {
		s.GoodSince = prev.GoodSince
	}
	good := o.At.Sub(s.GoodSince)
	if good >= hold || s.Expected {
		s.in(OK, said(lag, true))
		return
	}
	s.out(HoldDown, fmt.Sprintf("%s; in again in %s, when it stays so", said(lag, true), span(hold-good)))
}

// settle notes when In changed, and why.
func (s State) settle(p Policy, m Member, at time.Time, prev *State) State {
	switch {
	case prev == nil || prev.In != s.In:
		s.Since = at
		if prev != nil && !s.In {
			s.Expected = s.Reason.excused()
			if !s.Expected && s.Role == inventory.Standby {
				s.Strikes = min(s.Strikes+1, maxStrikes)
			}
		}
		if prev == nil && !s.In {
			s.Expected = s.Reason.excused()
		}
	case !s.In && !s.Reason.excused() && !waiting(s.Reason):
		s.Expected = false // something else went wrong meanwhile
	case !s.In && s.Reason.Planned():
		s.Expected = true
	}
	s.noteMaint(m, at)
	if s.In {
		s.GoodSince, s.Expected = time.Time{}, false
		// The first strike of a host that has been in for long is none.
		if s.Strikes > 0 && at.Sub(s.Since) >= 20*p.HoldDown {
			s.Strikes = 0
		}
	}
	return s
}

// noteMaint notes that HAProxy is told maint, and when that ends: at the first look at which
// the inventory keeps traffic away no more. Until then HAProxy keeps it, also while nobody
// looks, or the host gives no answer.
func (s *State) noteMaint(m Member, at time.Time) {
	switch {
	case s.Reason == Closed || s.Reason == Delayed:
		s.InMaint, s.Maint = true, time.Time{}
	case s.InMaint && !m.Closed && m.Delay == 0:
		s.InMaint, s.Maint = false, at
	}
}

// waiting are the reasons of a host on its way in.
func waiting(r Reason) bool {
	return r == CatchingUp || r == HoldDown || r == LagUnknown || r == NoReceiver
}

func seconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}
