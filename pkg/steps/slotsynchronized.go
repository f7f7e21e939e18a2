package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// synchronizedSlots names physical slots, from 17 on. A logical slot with failover gives
// its subscriber nothing that the standbys of these slots have not received; a slot that
// is not there confirms nothing, ever.
const synchronizedSlots = "synchronized_standby_slots"

// waitedFor are the slots that a running server's synchronized_standby_slots names: a list
// of identifiers, and a slot's name has only characters that need no quotes. None before 17.
func waitedFor(ctx context.Context, h *facts.Host) ([]string, error) {
	settings, err := h.Settings(ctx)
	if err != nil {
		return nil, err
	}
	set, _ := settings.Lookup(synchronizedSlots)
	return strings.FieldsFunc(strings.ToLower(set.Value), func(r rune) bool { return strings.ContainsRune(", \t\n\r\f\v\"", r) }), nil
}

// waitFor is what to type so that only these slots are waited for.
func waitFor(in In, slots []string) string {
	value := strings.Join(slots, ", ")
	if slices.ContainsFunc(in.Self.Postgres.Settings, func(s inventory.Setting) bool { return strings.EqualFold(s.Name, synchronizedSlots) }) {
		return fmt.Sprintf("say %s: %q for %s in the inventory, then: pgrepctl apply", synchronizedSlots, value, in.Self.Name)
	}
	return fmt.Sprintf("on %s: alter system set %s = %s; select pg_reload_conf()", in.Self.Name, synchronizedSlots, literal(value))
}

// mustNotWait is what to type before a slot is dropped, so that no logical slot waits for it;
// empty if none does. In recovery nobody waits: there it counts from a promotion on, and
// promotable looks at it.
func mustNotWait(ctx context.Context, in In, h *facts.Host, name string) (string, error) {
	if h.Server.InRecovery || !h.Server.Version.AtLeast(17) {
		return "", nil
	}
	names, err := waitedFor(ctx, h)
	if err != nil || !slices.Contains(names, name) {
		return "", err
	}
	return waitFor(in, slices.DeleteFunc(names, func(n string) bool { return n == name })), nil
}

func waitsForIt(name string) string {
	return synchronizedSlots + " names slot " + name + ": without it each logical slot with failover would wait for it for ever"
}

// refuseWaitedFor: without the slot the logical slots of the server would stand still, and
// none of their subscribers would get an error.
func (s *Slot) refuseWaitedFor(ctx context.Context, in In, h *facts.Host) error {
	first, err := mustNotWait(ctx, in, h, s.Name)
	if err != nil || first == "" {
		return err
	}
	return fault.Refuse(in.Self.Name, first+"; then type the same command again", errors.New(waitsForIt(s.Name)))
}
