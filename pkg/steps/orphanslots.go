package steps

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// OrphanSlots drops the physical slots of a host that no host of the inventory
// has and nobody uses now, or only tells of them: each keeps WAL until the disk is
// full, but somebody may come back to one whom the inventory does not know.
type OrphanSlots struct {
	State string `yaml:"state"` // absent, reported
}

var _ Step = (*OrphanSlots)(nil)

// Validate is called when a plan file is read.
func (s *OrphanSlots) Validate() error {
	if s.State != "absent" && s.State != "reported" {
		return fmt.Errorf("state %q: want absent or reported", s.State)
	}
	return nil
}

// Plan leaves alone what is in use, logical or temporary; and what may be of a standby that
// is away: a slot keeps the WAL of just that one.
func (s *OrphanSlots) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !h.Server.Running {
		return noop("no server runs on %s: it sends nothing", in.Self.Name), nil
	}
	asked, err := in.whoMayUse(ctx, h)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	for _, have := range h.Server.Slots {
		owner := slot.OwnerOf(in.Cluster, in.Self, have, asked.peers...)
		if have.Active || owner.Use != slot.Orphan {
			continue
		}
		doubt := slot.DoubtOf(in.Cluster, in.Self, have, asked.peers...)
		first, err := mustNotWait(ctx, in, h, have.Name)
		if err != nil {
			return Planned{}, err
		}
		switch {
		case s.State == "reported":
			p.Held = append(p.Held, reported(in, have, doubt, first))
		case !doubt.None():
			p.Held = append(p.Held, doubtful(in, have, doubt, asked))
		case first != "":
			p.Held = append(p.Held, Held{What: unused(have) + ", and is left: " + waitsForIt(have.Name), Hint: first + "; then type the same command again"})
		default:
			dropped, err := (&Slot{Name: have.Name}).drop(in, h.Server.Version, have, owner)
			if err != nil {
				return Planned{}, err
			}
			p.Effects = append(p.Effects, dropped.Effects...)
		}
	}
	switch {
	case len(p.Effects) > 0:
	case len(p.Held) > 0 && s.State == "reported":
		p.Noop = "nothing is dropped without being asked for"
	case len(p.Held) > 0:
		p.Noop = "no slot is sure to be nobody's"
	default:
		return noop("%s has no slot that nobody uses", in.Self.Name), nil
	}
	return p, nil
}

// mayUse is what the other hosts of the inventory said when they were asked for the slots
// that they are set to.
type mayUse struct {
	peers  []*facts.Host
	unread map[string]string // why nothing is known of one
}

// whoMayUse asks the other hosts of the inventory what they are set to, and who streams from
// them, if there is a slot about which that has to be known.
func (in In) whoMayUse(ctx context.Context, h *facts.Host) (mayUse, error) {
	if !slices.ContainsFunc(h.Server.Slots, func(x facts.Slot) bool {
		return !x.Active && slot.OwnerOf(in.Cluster, in.Self, x).Use == slot.Orphan
	}) {
		return mayUse{}, nil
	}
	var m mayUse
	m.peers, m.unread = in.peers(ctx, slices.DeleteFunc(slices.Clone(in.Cluster.Hosts), func(d *inventory.Host) bool { return d.Name == in.Self.Name }))
	return m, context.Cause(ctx)
}

// peers are the facts of hosts, of those that answer and are looked at at all; and why not of
// the others.
func (in In) peers(ctx context.Context, hosts []*inventory.Host) ([]*facts.Host, map[string]string) {
	var out []*facts.Host
	unread := map[string]string{}
	for _, d := range hosts {
		if slices.Contains(in.Without, d.Name) {
			unread[d.Name] = "it is not looked at"
			continue
		}
		f, err := in.Facts.Of(ctx, d.Name)
		if err != nil {
			unread[d.Name] = strings.TrimPrefix(err.Error(), d.Name+": ")
			continue
		}
		if why := slot.Unknown(f); why != "" {
			unread[d.Name] = why
		}
		out = append(out, f)
	}
	return out, unread
}

// doubtful is a slot that is left, for a standby may come back to it.
func doubtful(in In, have facts.Slot, doubt slot.Doubt, asked mayUse) Held {
	why, first := asked.explain(in, doubt)
	return Held{What: unused(have) + ", and is left: " + why, Hint: first + again + "; or, if nobody needs the slot: " + slot.DropCommand(in.Self.Name, have)}
}

const again = ", then type the same command again"

// explain says who may come back to a slot, and what to do first, so that it is known.
func (m mayUse) explain(in In, doubt slot.Doubt) (why, first string) {
	var reasons, todo, start []string
	for _, name := range doubt.Unread {
		reasons = append(reasons, "which slot "+name+" uses is not known: "+m.unread[name])
	}
	if len(doubt.Unread) > 0 {
		todo = []string{"let " + strings.Join(doubt.Unread, ", ") + " be read"}
	}
	var idle []string
	for _, name := range doubt.Down {
		if slices.ContainsFunc(m.peers, func(p *facts.Host) bool { return p.Name == name && p.Server.Running }) {
			reasons = append(reasons, name+" is set to a slot of that name, and is not seen to stream from another host: it may come back to this one")
			idle = append(idle, name)
			continue
		}
		reasons = append(reasons, name+", whose server does not run, is set to a slot of that name, and may not have moved from here yet")
		start = append(start, name)
	}
	if len(start) > 0 {
		todo = append(todo, "start the server of "+strings.Join(start, ", "))
	}
	for _, name := range idle {
		todo = append(todo, fmt.Sprintf("let %s stream from where it shall, or say upstream: %s for it in the inventory", name, in.Self.Name))
	}
	return strings.Join(reasons, "; "), strings.Join(todo, "; ")
}

// reported tells of an orphan, with the command that drops it. first is what to do before
// that, so that no logical slot waits for it.
func reported(in In, have facts.Slot, doubt slot.Doubt, first string) Held {
	text := "slot " + have.Name + " is used by nobody, and by no host of the inventory" + keeps(have)
	if away := slices.Concat(doubt.Unread, doubt.Down); len(away) > 0 {
		text += "; whether " + strings.Join(away, ", ") + " comes back to it is not known"
	}
	hint := "if nobody needs it: "
	if first != "" {
		text += "; " + waitsForIt(have.Name)
		hint += first + "; then: "
	}
	hint += slot.DropCommand(in.Self.Name, have)
	if doubt.None() {
		hint += "; or apply with --prune"
	}
	return Held{What: text, Hint: hint, Note: true}
}

func unused(have facts.Slot) string {
	return "slot " + have.Name + " is used by nobody now" + keeps(have)
}

func keeps(have facts.Slot) string {
	if have.RetainedBytes == nil {
		return ""
	}
	return ", and keeps " + postgres.PrettyBytes(*have.RetainedBytes) + " of WAL"
}
