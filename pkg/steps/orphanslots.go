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
	peers, unread, err := in.whoMayUse(ctx, h)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	for _, have := range h.Server.Slots {
		owner := slot.OwnerOf(in.Cluster, in.Self, have, peers...)
		if have.Active || owner.Use != slot.Orphan {
			continue
		}
		doubt := slot.DoubtOf(in.Cluster, in.Self, have, peers...)
		switch {
		case s.State == "reported":
			p.Held = append(p.Held, reported(in, have, doubt))
		case !doubt.None():
			p.Held = append(p.Held, doubtful(in, have, doubt, unread))
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

// whoMayUse asks the standbys of the inventory what they are set to, if there is a slot about
// which that has to be known; and says why one could not be read.
func (in In) whoMayUse(ctx context.Context, h *facts.Host) ([]*facts.Host, map[string]string, error) {
	if !slices.ContainsFunc(h.Server.Slots, func(x facts.Slot) bool {
		return !x.Active && slot.OwnerOf(in.Cluster, in.Self, x).Use == slot.Orphan
	}) {
		return nil, nil, nil
	}
	peers, unread := in.peers(ctx, slices.DeleteFunc(in.Cluster.Standbys(), func(d *inventory.Host) bool { return d.Name == in.Self.Name }))
	return peers, unread, context.Cause(ctx)
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
func doubtful(in In, have facts.Slot, doubt slot.Doubt, unread map[string]string) Held {
	var why []string
	for _, name := range doubt.Unread {
		why = append(why, "which slot "+name+" uses is not known: "+unread[name])
	}
	for _, name := range doubt.Down {
		why = append(why, name+", whose server does not run, is set to a slot of that name, and may not have moved from here yet")
	}
	first := "let " + strings.Join(slices.Concat(doubt.Unread, doubt.Down), ", ") + " be read"
	if len(doubt.Unread) == 0 {
		first = "start the server of " + strings.Join(doubt.Down, ", ")
	}
	return Held{What: "slot " + have.Name + " is used by nobody now" + keeps(have) + ", and is left: " + strings.Join(why, "; "),
		Hint: first + ", then type the same command again; or, if nobody needs the slot: " + slot.DropCommand(in.Self.Name, have)}
}

// reported tells of an orphan, with the command that drops it.
func reported(in In, have facts.Slot, doubt slot.Doubt) Held {
	text := "slot " + have.Name + " is used by nobody, and by no host of the inventory" + keeps(have)
	if away := slices.Concat(doubt.Unread, doubt.Down); len(away) > 0 {
		text += "; whether " + strings.Join(away, ", ") + " comes back to it is not known"
	}
	hint := "if nobody needs it: " + slot.DropCommand(in.Self.Name, have)
	if doubt.None() {
		hint += "; or apply with --prune"
	}
	return Held{What: text, Hint: hint, Note: true}
}

func keeps(have facts.Slot) string {
	if have.RetainedBytes == nil {
		return ""
	}
	return ", and keeps " + postgres.PrettyBytes(*have.RetainedBytes) + " of WAL"
}
