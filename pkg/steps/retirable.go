package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// SyncQuorum is what the user accepts by this name: that fewer synchronous standbys
// than before confirm a commit.
const SyncQuorum = "sync.quorum"

// Retirable refuses to take a standby out of the cluster while that would hurt:
// while others stream from it, or when it is something else than a standby.
type Retirable struct {
	// Downstreams says what becomes of the hosts that stream from it: refuse,
	// or repoint, to the host To.
	Downstreams string `yaml:"downstreams"`
	To          string `yaml:"to"`
	// As is what it is left as: stopped, or separate.
	As string `yaml:"as"`
	// Gone: it cannot be asked, and never will be again.
	Gone bool `yaml:"gone"`
}

var _ Step = (*Retirable)(nil)

// Validate is called when a plan file is read.
func (s *Retirable) Validate() error {
	if s.Downstreams != "refuse" && s.Downstreams != "repoint" {
		return fmt.Errorf("downstreams %q: want refuse or repoint", s.Downstreams)
	}
	return leftAs(s.As)
}

// Plan never has effects.
func (s *Retirable) Plan(ctx context.Context, in In) (Planned, error) {
	if err := onlyAccepts(in, SyncQuorum); err != nil {
		return Planned{}, err
	}
	sb := in.Standby
	if s.Gone {
		if err := s.refusePresent(ctx, in); err != nil {
			return Planned{}, err
		}
		left, err := s.refuseDownstreams(in, nil)
		p := noop("it is not asked")
		p.Held = left
		return p, err
	}
	h, err := in.Facts.Of(ctx, sb.Name)
	if err != nil {
		return Planned{}, err
	}
	if err := s.refuseOther(ctx, in, h); err != nil {
		return Planned{}, err
	}
	left, err := s.refuseDownstreams(in, h)
	if err != nil {
		return Planned{}, err
	}
	if err := s.refuseOtherSlot(ctx, in, h); err != nil {
		return Planned{}, err
	}
	if len(left) > 0 {
		return Planned{Noop: "nobody streams from it who is not re-pointed", Held: left}, nil
	}
	return noop("nobody is left behind by it"), nil
}

func onlyAccepts(in In, known ...string) error {
	for _, id := range in.Run.Accepted() {
		if !slices.Contains(known, id) {
			return &fault.Error{Class: fault.Usage, Err: fmt.Errorf("there is no check %q here that could be skipped", id),
				Hint: "--accept " + strings.Join(known, ", --accept ")}
		}
	}
	return nil
}

// refuseOther: what runs there, or what lies there, is no standby of this cluster.
func (s *Retirable) refuseOther(ctx context.Context, in In, h *facts.Host) error {
	_, uf, err := in.upstream(ctx)
	if err != nil {
		return err
	}
	if h.Data.PID != 0 && !h.Server.Running {
		return fault.Refuse(h.Name, "wait until it answers, or stop it, then type the same command again",
			fmt.Errorf("its server lives (process %d) and cannot be asked: %s", h.Data.PID, h.Server.NotReady))
	}
	if h.Data.State == facts.Cluster && uf.Server.Running {
		if id := strconv.FormatUint(h.Data.Control.SystemID, 10); id != uf.Server.SystemID {
			return fault.Refuse(h.Name, "correct address or data_directory of "+h.Name+" in the inventory",
				fmt.Errorf("%s holds another cluster: system identifier %s, that of %s is %s", h.Data.Path, id, uf.Name, uf.Server.SystemID))
		}
	}
	if h.Server.Running && !h.Server.InRecovery && s.As != separate {
		return fault.Refuse(h.Name, "if it shall stay a server of its own: pgrepctl standby retire "+h.Name+" --promote-apart; if nobody needs what was written there, stop it by hand",
			errors.New("it is no standby: it was promoted, and takes writes"))
	}
	return nil
}

// refusePresent: a host that is gone does not stream.
func (s *Retirable) refusePresent(ctx context.Context, in In) error {
	up, uf, err := in.upstream(ctx)
	if err != nil || in.Run.Changed(up.Name) {
		return err
	}
	app := applicationName(in.Standby)
	if x, ok := uf.Server.SenderOf(app, in.Standby.Slot); ok && x.State == "streaming" {
		as := ""
		if x.Application != app {
			as = fmt.Sprintf(" by slot %s, as %q", in.Standby.Slot, x.Application)
		}
		return fault.Refuse(up.Name, fmt.Sprintf("pgrepctl standby retire %s; or, if it has just vanished, wait for wal_sender_timeout (60 s by default) and type the same command again", in.Standby.Name),
			fmt.Errorf("%s streams from it%s: it may not be gone", in.Standby.Name, as))
	}
	return nil
}

// hostNamed is the host of that name, or the primary.
func hostNamed(c *inventory.Cluster, name string) (*inventory.Host, error) {
	if name == "primary" {
		return c.Primary(), nil
	}
	h, ok := c.Host(name)
	if !ok {
		return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("no host %q in the inventory", name)}
	}
	return h, nil
}

// refuseDownstreams: hosts that stream from it would be cut off. h is nil when it
// cannot be asked. What it gives back are those that are left set to it.
func (s *Retirable) refuseDownstreams(in In, h *facts.Host) ([]Held, error) {
	sb := in.Standby
	down := in.Cluster.Downstreams(sb)
	if s.Downstreams == "refuse" && len(down) > 0 {
		gone := ""
		if s.Gone {
			gone = " --gone"
		}
		return nil, fault.Refuse(sb.Name, fmt.Sprintf("pgrepctl standby retire %s%s --repoint-to %s; or, if they stream from elsewhere already, correct their upstream in the inventory", sb.Name, gone, sb.UpstreamName),
			fmt.Errorf("in the inventory %s", streams(down)))
	}
	if s.Downstreams == "repoint" {
		if err := refuseTarget(in.Cluster, sb, s.To); err != nil {
			return nil, err
		}
	}
	left, err := s.leftOut(in, h, down)
	if h == nil || err != nil {
		return left, err
	}
	for _, x := range h.Server.Senders {
		if slices.ContainsFunc(down, func(d *inventory.Host) bool { return applicationName(d) == x.Application }) {
			continue
		}
		hint := "end it, then type the same command again"
		if _, ok := in.Cluster.Host(x.Application); ok {
			hint = fmt.Sprintf("say upstream: %s for %s in the inventory, then: pgrepctl standby retire %s --repoint-to %s", sb.Name, x.Application, sb.Name, sb.UpstreamName)
		}
		return nil, fault.Refuse(sb.Name, hint, fmt.Errorf("%q streams from it (from %s, server process %d), which the inventory does not say", x.Application, x.Client, x.PID))
	}
	return left, nil
}

// leftOut are the downstreams that the plan does not look at (without), and so does not
// re-point either. One that streams from h would be cut off. One that does not comes back
// to an upstream that is gone, which has to be known.
func (s *Retirable) leftOut(in In, h *facts.Host, down []*inventory.Host) ([]Held, error) {
	sb, to := in.Standby.Name, s.To
	if h, err := hostNamed(in.Cluster, to); err == nil {
		to = h.Name
	}
	var out []Held
	for _, d := range down {
		if !slices.Contains(in.Without, d.Name) {
			continue
		}
		if h != nil {
			if x, ok := h.Server.SenderOf(applicationName(d), d.Slot); ok {
				return nil, fault.Refuse(sb, fmt.Sprintf("let %s be reached, and give no --without %s; or re-point it by hand, and say its new upstream in the inventory; or, if it has just vanished, wait for wal_sender_timeout (60 s by default); then type the same command again", d.Name, d.Name),
					fmt.Errorf("%s streams from it (from %s, server process %d), and cannot be re-pointed while it is left out: it would be cut off", d.Name, x.Client, x.PID))
			}
		}
		out = append(out, Held{What: fmt.Sprintf("%s is not re-pointed, for it is left out: it is still set to %s, and nothing keeps WAL for it", d.Name, sb),
			Hint: LeftOut(d.Name, to)})
	}
	return out, nil
}

// LeftOut is what is to do, once it answers, about a standby that was not re-pointed when its
// upstream went.
func LeftOut(name, to string) string {
	return fmt.Sprintf("once it answers, say upstream: %s for it in the inventory, then: pgrepctl standby bootstrap %s; if its WAL is gone by then: pgrepctl standby reseed %s", to, name, name)
}

// streams says who has the same upstream.
func streams(down []*inventory.Host) string {
	names := make([]string, len(down))
	for i, d := range down {
		names[i] = d.Name
	}
	if len(names) == 1 {
		return names[0] + " streams from it"
	}
	return strings.Join(names, ", ") + " stream from it"
}

// refuseTarget: a host that others shall stream from instead of the one that goes
// must not stream from that one itself.
func refuseTarget(c *inventory.Cluster, goes *inventory.Host, to string) error {
	h, err := hostNamed(c, to)
	if err != nil {
		return err
	}
	for at := h; at != nil; at = c.Upstream(at) {
		if at == goes {
			return fault.Refuse(to, "name "+goes.UpstreamName+", or another host that does not stream from "+goes.Name,
				fmt.Errorf("others cannot be re-pointed to it: it is, or streams from, %s", goes.Name))
		}
	}
	return nil
}

// refuseOtherSlot: a slot that it uses, or is set to, under another name than the
// inventory's would stay behind. One that it uses no more, as when it is stopped, is told by
// its own settings alone.
func (s *Retirable) refuseOtherSlot(ctx context.Context, in In, h *facts.Host) error {
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return err
	}
	sb := in.Standby
	for _, x := range uf.Server.Slots {
		uses := "uses"
		switch set := slot.OwnerOf(in.Cluster, up, x, h); {
		case x.Name == sb.Slot:
			continue
		case x.Active && x.Client == applicationName(sb):
		case set.Use == slot.Guest && set.Host == sb.Name:
			uses = "is set to"
		default:
			continue
		}
		hint := fmt.Sprintf("say slot: %s for %s in the inventory", x.Name, sb.Name)
		if !in.Cluster.Replication.Slots {
			hint = fmt.Sprintf("pgrepctl slot drop %s --on %s --of %s", x.Name, up.Name, sb.Name)
		}
		return fault.Refuse(up.Name, hint+", then type the same command again",
			fmt.Errorf("%s %s slot %s, and the inventory says %q: it would be left behind", sb.Name, uses, x.Name, sb.Slot))
	}
	return nil
}
