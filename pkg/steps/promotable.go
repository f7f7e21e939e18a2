package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Promotable refuses to make a standby the primary while that would make two of
// them, or lose what another standby has.
type Promotable struct {
	// Primary says what becomes of the old one: refuse while it takes writes,
	// stop it, or it is gone.
	Primary string `yaml:"primary"`
	// Without are standbys that cannot be reached, with commas between.
	Without string `yaml:"without"`
}

var _ Step = (*Promotable)(nil)

// Validate is called when a plan file is read.
func (s *Promotable) Validate() error {
	if !slices.Contains([]string{"refuse", "stop", "gone"}, s.Primary) {
		return fmt.Errorf("primary %q: want refuse, stop or gone", s.Primary)
	}
	return nil
}

// Plan never has effects.
func (s *Promotable) Plan(ctx context.Context, in In) (Planned, error) {
	if err := onlyAccepts(in, SyncQuorum, PrimaryUnseen); err != nil {
		return Planned{}, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if h.Server.Running && !h.Server.InRecovery {
		return noop("it is the primary, on timeline %d", h.Server.Timeline), nil
	}
	if err := s.only(ctx, in); err != nil {
		return Planned{}, err
	}
	if err := s.fit(ctx, in, h); err != nil {
		return Planned{}, err
	}
	if err := s.confirmed(ctx, in, h); err != nil {
		return Planned{}, err
	}
	held, err := s.synchronized(ctx, in, h)
	if err != nil {
		return Planned{}, err
	}
	p, err := s.beside(ctx, in, h)
	p.Held = held
	return p, err
}

// only refuses while another operator promotes another standby. Each of the two has the lock
// of the host that it promotes before it looks at the others, so at least one sees the other.
// Side by side, for one that is gone costs the time to give it up. Who leaves a host out
// says that it cannot be asked.
func (s *Promotable) only(ctx context.Context, in In) error {
	hosts := slices.DeleteFunc(slices.Clone(in.Cluster.Hosts), func(x *inventory.Host) bool {
		return x == in.Standby || x == in.Cluster.Primary() || s.leavesOut(x)
	})
	all := make([]*facts.Host, len(hosts))
	var wg sync.WaitGroup
	for i, x := range hosts {
		wg.Go(func() { all[i], _ = in.Facts.Of(ctx, x.Name) }) // that one cannot be asked is for a step of its own
	}
	wg.Wait()
	for i, h := range all {
		name := hosts[i].Name
		switch {
		case h == nil:
			continue
		case h.Server.Lock != nil:
			return effect.Locked(name, h.Server.Lock)
		case h.Server.Running && !h.Server.InRecovery:
			return fault.Refuse(name, "pgrepctl status; to leave it out: --without "+name, errors.New("it takes writes: it was promoted already, or is no standby of this cluster"))
		}
		if err := unfinished(in, h); err != nil {
			return err
		}
	}
	return nil
}

// unfinished refuses while another run of the cluster has its journal on that host. The copy
// of one that is over here was left, for the host could not be asked when it ended.
func unfinished(in In, h *facts.Host) error {
	for _, r := range h.Runs {
		if r.Cluster == in.Cluster.Name && r.ID != in.Run.ID() && !in.Run.Ended(r.ID) {
			return fault.Refuse(h.Name, "pgrepctl runs resume "+r.ID+"; or: pgrepctl runs undo "+r.ID, fmt.Errorf("%s is not finished", r))
		}
	}
	return nil
}

// beside looks at the old primary.
func (s *Promotable) beside(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	if s.Primary == "gone" {
		return s.lost(ctx, in, h)
	}
	old := in.Cluster.Primary()
	p, err := in.Facts.Of(ctx, old.Name)
	if err != nil {
		return Planned{}, err
	}
	if p.Server.Running && s.Primary == "refuse" {
		return Planned{}, fault.Refuse(old.Name, fmt.Sprintf("pgrepctl standby promote %s --stop-primary", in.Self.Name),
			errors.New("it runs and takes writes: promoting beside it would make two primaries"))
	}
	if l := p.Server.Lock; l != nil {
		return Planned{}, effect.Locked(old.Name, l)
	}
	if err := unfinished(in, p); err != nil {
		return Planned{}, err
	}
	if p.Server.Running {
		if err := s.sendsAll(ctx, in, p); err != nil {
			return Planned{}, err
		}
		if err := s.unrecognized(in, p); err != nil {
			return Planned{}, err
		}
	}
	return noop("it may become the primary"), nil
}

// fit is what has to be true of the standby itself. One with a recovery target replays
// nothing beyond it, and its promotion would wait for what the old primary wrote last; one
// that stands there ends recovery when replay is resumed, beside a primary that lives.
func (s *Promotable) fit(ctx context.Context, in In, h *facts.Host) error {
	if !h.Server.Running {
		return notRunning(h)
	}
	target, err := in.recoveryTarget(ctx, h)
	switch {
	case err != nil:
		return err
	case target != "":
		return fault.Refuse(in.Self.Name, "when it is no longer wanted: pgrepctl replay resume "+in.Self.Name+" --follow; then type the same command again",
			fmt.Errorf("it was started with a recovery target (%s), and does not follow until that is taken away", target))
	case h.Server.Replay.Paused:
		return fault.Refuse(in.Self.Name, "pgrepctl replay resume "+in.Self.Name+"; then type the same command again", errors.New("replay is paused there"))
	}
	delay, err := in.applyDelay(ctx, h)
	if err != nil {
		return err
	}
	if delay = max(delay, in.Self.ApplyDelay); delay > 0 {
		return fault.Refuse(in.Self.Name, "promote another standby, or take apply_delay out of the inventory and the server",
			fmt.Errorf("it stays %s behind on purpose: promoted, it would replay what somebody may want to stop before", delay))
	}
	return nil
}

// confirmed refuses when commits on the new primary would hang at once: its own
// synchronous_standby_names counts from the promotion on.
func (s *Promotable) confirmed(ctx context.Context, in In, h *facts.Host) error {
	l, err := openSetting(ctx, in, h, syncNames)
	if err != nil || l == nil {
		return err
	}
	names, err := postgres.ParseSyncStandbys(l.value)
	if err != nil {
		return fault.Refuse(in.Self.Name, "mend "+l.at+", then type the same command again", err)
	}
	others := 0
	for _, x := range append(s.followers(in), in.Cluster.Downstreams(in.Self)...) {
		if names.Match(applicationName(x)) {
			others++
		}
	}
	if len(names.Names) == 0 || others >= names.Num || slices.Contains(in.Run.Accepted(), SyncQuorum) {
		return nil
	}
	return fault.Refuse(in.Self.Name, "alter system set "+syncNames+" there, then type the same command again; or go on with: --accept "+SyncQuorum,
		fmt.Errorf("%s = %s (%s) wants %d to confirm each commit, and %d of them will stream from it: commits would hang", syncNames, names, l.at, names.Num, others))
}

// synchronized refuses when the new primary's own synchronized_standby_slots, which counts
// from the promotion on, names the slot of the new primary itself: nobody will ever stream
// from it by that. Another slot that is missing may still be made, as that of the old
// primary is once it is a standby: that is said.
func (s *Promotable) synchronized(ctx context.Context, in In, h *facts.Host) ([]Held, error) {
	names, err := waitedFor(ctx, h)
	if err != nil {
		return nil, err
	}
	var there, missing []string // an early 17 takes no slot that is not there
	for _, name := range names {
		if _, ok := h.Server.Slot(name); ok && name != in.Self.Slot {
			there = append(there, name)
		} else if !s.servesBy(in, name) {
			missing = append(missing, name)
		}
	}
	if slices.Contains(missing, in.Self.Slot) {
		return nil, fault.Refuse(in.Self.Name, waitFor(in, there)+"; then type the same command again, and name the slots of its standbys when it has them",
			fmt.Errorf("%s names slot %s, its own: once it is the primary, each logical slot with failover would wait for that for ever", synchronizedSlots, in.Self.Slot))
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return []Held{{What: fmt.Sprintf("%s names slot %s, which it does not have: once it is the primary, each logical slot with failover waits until it has, and somebody streams by it", synchronizedSlots, strings.Join(missing, ", ")),
		Hint: "if that takes too long: " + waitFor(in, there), Note: true}}, nil
}

// servesBy reports whether a standby will stream from the new primary by that slot.
func (s *Promotable) servesBy(in In, name string) bool {
	return slices.ContainsFunc(append(s.followers(in), in.Cluster.Downstreams(in.Self)...), func(x *inventory.Host) bool { return x.Slot == name })
}

// followers are the standbys that stream from the primary of the inventory and can
// be reached, but for the one that the plan is about.
func (s *Promotable) followers(in In) []*inventory.Host {
	return slices.DeleteFunc(in.Cluster.Downstreams(in.Cluster.Primary()), func(h *inventory.Host) bool { return h == in.Standby || s.leavesOut(h) })
}

func (s *Promotable) leavesOut(h *inventory.Host) bool {
	return slices.Contains(inventory.NamesIn(s.Without), h.Name)
}
