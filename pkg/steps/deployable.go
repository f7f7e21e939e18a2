package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Deployable refuses a rollout that could block or lose a read, or starve a commit.
type Deployable struct {
	First  hostList `yaml:"first"`  // drained before
	Second hostList `yaml:"second"` // paused
	Not    hostList `yaml:"not"`    // take no part, and may have readers
	// Role is who runs it, empty for the user that connects.
	Role string `yaml:"role"`
	// Pause is the longest time that one of Second may be paused.
	Pause time.Duration `yaml:"pause"`
	// NoLock: the change locks nothing against new reads, so that any standby may have readers.
	NoLock bool `yaml:"no-lock"`
}

var _ Step = (*Deployable)(nil)

// pauseRoom is free on the disk of a standby at least while it receives and does not replay.
const pauseRoom = 1 << 30

// Plan never has effects: it refuses, or says who takes part. Once the change is committed there is nothing to refuse.
func (s *Deployable) Plan(ctx context.Context, in In) (Planned, error) {
	if lsn, ok := deployed(in.Run); ok {
		return noop("the DDL is committed, at %s", lsn), nil
	}
	first, err := s.First.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	second, err := s.Second.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	not, err := s.Not.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	errs := []error{s.mayBecome(ctx, in)}
	var room []string
	for _, x := range append(slices.Clone(first), second...) {
		errs = append(errs, in.rolls(ctx, x))
		if slices.Contains(second, x) {
			budget, err := s.hasRoom(ctx, in, x)
			if errs = append(errs, err); budget != "" {
				room = append(room, budget)
			}
		}
	}
	errs = append(errs, in.starves(ctx, second))
	if !s.NoLock {
		errs = append(errs, in.readsApart(ctx, slices.Concat(first, second, not)))
	}
	if err := errors.Join(errs...); err != nil {
		return Planned{}, err
	}
	also := ""
	if len(room) > 0 {
		also = "; " + strings.Join(room, "; ")
	}
	switch n := len(first) + len(second); n {
	case 0:
		return noop("no standby has to be drained or paused"), nil
	default:
		return noop("%s can take part%s", countOf(n, "standby"), also), nil
	}
}

// countOf is a number of things, in words.
func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// mayBecome refuses a role that the statements could not run as: it would be noticed
// only when readers are moved already.
func (s *Deployable) mayBecome(ctx context.Context, in In) error {
	if s.Role == "" {
		return nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return err
	}
	r, err := h.Role(ctx, s.Role)
	switch {
	case err != nil:
		return err
	case !r.Exists:
		return fault.Refuse(in.Self.Name, "look at the spelling (--role), or create it", fmt.Errorf("no role %q", s.Role))
	case !r.Becomes:
		return fault.Refuse(in.Self.Name, "grant it to "+in.Self.Postgres.Superuser+", as whom pgrepctl connects; or leave --role out",
			fmt.Errorf("%s may not SET ROLE %q", in.Self.Postgres.Superuser, s.Role))
	}
	return nil
}

// hasRoom refuses to pause a standby whose disk would be full before its replay goes on,
// and says what the pause may need.
func (s *Deployable) hasRoom(ctx context.Context, in In, x *inventory.Host) (string, error) {
	primary, err := in.self(ctx)
	if err != nil {
		return "", err
	}
	h, err := in.Facts.Of(ctx, x.Name)
	if err != nil {
		return "", err
	}
	free, where := h.Machine.FreeBytes, "its disk"
	if space, err := h.Space(ctx, x.Postgres.OSUser, []string{x.Postgres.WALAt(h.Server.Version)}); err != nil {
		return "", err
	} else if len(space) == 1 && space[0].TotalBytes > 0 {
		free, where = space[0].FreeBytes, space[0].Path
	}
	if free <= 0 { // not known
		return "", nil
	}
	pause := orElse(s.Pause, longestPause)
	rate, window := primary.WALRate()
	need := int64(rate*pause.Seconds()) + pauseRoom
	forecast := fmt.Sprintf("%s of WAL in a pause of %s at most (at %s a second, as in the last %s)",
		postgres.PrettyBytes(need-pauseRoom), pause, postgres.PrettyBytes(int64(rate)), window.Round(time.Second))
	switch {
	case free < pauseRoom:
		return "", fault.Refuse(x.Name, "free some space there", fmt.Errorf("%s has less than 1 GiB free, and while it is paused it keeps all WAL that comes in", where))
	case rate == 0:
		return "", nil
	case free < need:
		return "", fault.Refuse(x.Name, "free some space there; or make the pause shorter: --drain-timeout, --max-stale",
			fmt.Errorf("while it is paused it keeps all WAL that comes in: %s, and 1 GiB to spare, are more than the %s that %s has free", forecast, postgres.PrettyBytes(free), where))
	}
	return fmt.Sprintf("%s has room (%s free) for %s%s", x.Name, postgres.PrettyBytes(free), forecast, s.slotLimit(ctx, in, primary, x, need-pauseRoom)), nil
}

// longestPause is that of a rollout with the flags that nobody gave.
const longestPause = 13 * time.Minute

// slotLimit warns where a walreceiver that dies in the pause, which nothing starts again
// until it ends, would cost a standby its WAL on the primary.
func (s *Deployable) slotLimit(ctx context.Context, in In, primary *facts.Host, x *inventory.Host, need int64) string {
	settings, err := primary.Settings(ctx)
	if err != nil {
		return ""
	}
	up := in.Cluster.Upstream(x)
	if up == nil || up.Name != in.Self.Name {
		return "" // it is another server that keeps it
	}
	name, keeps := "max_slot_wal_keep_size", settings["max_slot_wal_keep_size"] // MB; -1 is without limit
	if x.Slot == "" {
		if name = "wal_keep_size"; !primary.Server.Version.AtLeast(13) {
			return "" // wal_keep_segments, which says little of bytes
		}
		keeps = settings[name]
	}
	mb, err := strconv.ParseInt(keeps.Value, 10, 64)
	if err != nil || mb < 0 || mb<<20 >= need {
		return ""
	}
	return fmt.Sprintf("; should its walreceiver die meanwhile, %s of %s (%s) is less than that, and it would have to be seeded again", name, in.Self.Name, postgres.PrettyBytes(mb<<20))
}

// rolls refuses one standby.
func (in In) rolls(ctx context.Context, x *inventory.Host) error {
	in.Self = x
	h, err := in.replaying(ctx)
	if err != nil {
		return err
	}
	primary, err := in.Facts.Of(ctx, in.Cluster.Primary().Name)
	if err != nil {
		return err
	}
	delay, err := in.applyDelay(ctx, h)
	if err != nil {
		return err
	}
	refuse := func(hint, format string, a ...any) error { return fault.Refuse(x.Name, hint, fmt.Errorf(format, a...)) }
	switch r := h.Server.Replay; {
	case delay > 0:
		return refuse("keep readers away from it (traffic: none in the inventory)", "it replays %s late, and has readers: replay would take the lock at once and free it %s later", delay, delay)
	case r.Paused:
		return refuse("when whoever paused it agrees: pgrepctl replay resume "+x.Name, "its replay is paused already, by somebody else")
	case r.ReceiverStatus != "streaming":
		return refuse("pgrepctl status", "it does not stream")
	case h.Server.Timeline != primary.Server.Timeline && h.Server.Timeline != 0:
		return refuse("pgrepctl status", "it is on timeline %d, and %s on %d", h.Server.Timeline, primary.Name, primary.Server.Timeline)
	}
	return nil
}

// remoteApply says whose commits wait for replay, empty if nobody's. What a session sets
// for itself cannot be seen.
func (in In) remoteApply(ctx context.Context, h *facts.Host, settings postgres.Settings) (string, error) {
	if settings["synchronous_commit"].Value == "remote_apply" {
		return ", as the server has it,", nil
	}
	list, err := h.SetFor(ctx, "synchronous_commit")
	if err != nil {
		return "", err
	}
	var of []string
	for _, x := range list {
		if x.Value == "remote_apply" {
			of = append(of, x.String())
		}
	}
	if len(of) == 0 {
		return "", nil
	}
	return " for " + strings.Join(of, ", "), nil
}

// starves refuses to pause what commits wait for.
func (in In) starves(ctx context.Context, paused []*inventory.Host) error {
	if len(paused) == 0 {
		return nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return err
	}
	settings, err := h.Settings(ctx)
	if err != nil {
		return err
	}
	if settings[syncSetting].Value == "" {
		return nil
	}
	whose, err := in.remoteApply(ctx, h, settings)
	if err != nil || whose == "" {
		return err
	}
	rule, err := postgres.ParseSyncStandbys(settings[syncSetting].Value)
	if err != nil {
		return err
	}
	left := in.unpaused(h.Server.Senders, rule, paused)
	if left < rule.Num {
		return fault.Refuse(in.Self.Name, "let commits wait for less while it lasts: synchronous_commit = on, also where ALTER ROLE or ALTER DATABASE has set it; or pause fewer standbys: --first",
			fmt.Errorf("with synchronous_commit = remote_apply%s commits wait until %d of %q have replayed them, and %d would while the others are paused", whose, rule.Num, settings[syncSetting].Value, left))
	}
	return nil
}

// unpaused is how many of the standbys that a commit waits for are not paused. With FIRST,
// and before 10, those are the streaming ones that come first in the list, and one that is
// paused still streams: no other takes its place (SyncRepGetCandidateStandbys). Of those
// of one place any may be meant.
func (in In) unpaused(senders []facts.Sender, rule postgres.SyncStandbys, paused []*inventory.Host) int {
	stands := func(s facts.Sender) bool {
		return slices.ContainsFunc(paused, func(x *inventory.Host) bool { return applicationName(x) == s.Application })
	}
	left, first := 0, len(rule.Names)+1 // first: the place of the first that is paused
	for _, s := range senders {
		if p := rule.Priority(s.Application); s.State == "streaming" && p > 0 && stands(s) {
			first = min(first, p)
		}
	}
	for _, s := range senders {
		if p := rule.Priority(s.Application); s.State == "streaming" && p > 0 && !stands(s) && (rule.Any || p < first) {
			left++
		}
	}
	return left
}

// readsApart refuses a rollout beside a standby that is in neither group, for it served
// nobody when they were made, and has readers all the same: they would stand before the
// replay of the change, or it before them. Where nobody serves both groups are empty, and
// readers that are left would meet the replay as well.
func (in In) readsApart(ctx context.Context, groups []*inventory.Host) error {
	for _, x := range in.Cluster.Standbys() {
		if x.BalancedName() == "" || x.ApplyDelay > 0 || slices.Contains(groups, x) || slices.Contains(in.Without, x.Name) {
			continue
		}
		if !in.tellsServers() {
			if err := in.readByFile(ctx, x); err != nil {
				return err
			}
		}
		for _, b := range in.Cluster.Traffic.Balancers {
			if b.Kind != inventory.BalancerHAProxy && b.Kind != inventory.BalancerCommand {
				continue
			}
			lb, err := in.Facts.Of(ctx, b.Name)
			if err != nil {
				return err
			}
			now := lb.Balances(b.Server(x))
			why, hint := "", "let it serve at every balancer: pgrepctl traffic restore "+x.Name+"; or keep all reads away from it: pgrepctl traffic drain "+x.Name
			switch {
			case now.Sessions > 0 && now.State != facts.Serving:
				why, hint = "still has "+countOf(now.Sessions, "session"), "wait until they have left, or let it serve at every balancer: pgrepctl traffic restore "+x.Name
			case now.State == facts.Serving:
				why = "serves"
			default:
				continue
			}
			return fault.Refuse(b.Name, hint+"; then type the same command again",
				fmt.Errorf("%s %s here and takes no part: it is not served by every balancer, and its readers would be held up by the change", x.Name, why))
		}
	}
	return nil
}
