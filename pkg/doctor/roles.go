package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// The checks of what a standby is for: cascading, delayed, synchronous.

func roleChecks() []Check {
	return []Check{
		{ID: "sync.too-few", Severity: Warn, onHost: syncTooFew,
			Doc: "As many synchronous standbys stream as commits wait for, and one more. With fewer each commit waits until one is back."},
		{ID: "sync.unknown", Severity: Block, onHost: syncUnknown,
			Doc: "Where the inventory has synchronous hosts, synchronous_standby_names has no names but those of the inventory's hosts: the last step of a bootstrap would not know what to do with them."},
		{ID: "sync.delayed", Severity: Warn, onPair: syncDelayed,
			Doc: "No delayed standby is synchronous. With synchronous_commit = remote_apply each commit would wait for its delay; that setting of the server itself blocks."},
		{ID: "source.full-page-writes", Severity: Block, onSource: sourceFullPageWrites,
			Doc: "full_page_writes of the primary was on when a standby that is copied from took its last restart point: else its backup is refused, or torn."},
		{ID: "upstream.listens", Severity: Block, onPair: upstreamListens,
			Doc: "The upstream listens on more than localhost. Debian's default does not, and a change needs a restart."},
		{ID: "upstream.receives", Severity: Block, onPair: upstreamReceives,
			Doc: "An upstream that is a standby itself receives WAL: a copy of one that does not is as old as that."},
		{ID: "standby.listens", Severity: Note, onPair: standbyListens,
			Doc: "A standby listens on more than localhost: on the day that it is the primary, or an upstream, a change needs a restart. One that is still to be made, and that others are to stream from, is not made before it does."},
		{ID: "standby.tls-off", Severity: Note, onPair: standbyTLSOff,
			Doc: "ssl is on on a standby, too, if replication.sslmode asks for it: else its pg_hba.conf cannot have the rules that its own standbys will need."},
		{ID: "standby.turns-away", Severity: Note, onPair: standbyTurnsAway,
			Doc: "pg_hba.conf of a running standby admits the replication role from every other host of the inventory, for the day that it is their upstream, or the primary."},
		{ID: "feedback.cut", Severity: Note, onPair: feedbackCut,
			Doc: "hot_standby_feedback goes through each standby up to the primary: one on the way that has it off passes none on, and queries below it are cancelled by what the primary vacuums."},
		{ID: "delay.feedback", Severity: Warn, onPair: delayFeedback,
			Doc: "hot_standby_feedback is off on a delayed standby: its oldest snapshot is as old as the delay, and the primary would keep dead rows for as long."},
		{ID: "delay.traffic", Severity: Warn, onPair: delayTraffic,
			Doc: "A delayed standby serves no reads: `traffic: none` keeps them away."},
		{ID: "delay.differs", Severity: Warn, onPair: delayDiffers,
			Doc: "A running standby has the delay of the inventory (12 and later). One that was started with a recovery target has another, or none: it is told of as `standby.at-target`."},
		{ID: "delay.space", Severity: Block, onPair: delaySpace,
			Doc: "pg_wal of a delayed standby has room for the WAL of its delay, at the rate since the last checkpoint of its upstream; twice the room, or it warns. What it received stays there until it is replayed."},
		{ID: "delay.slot-space", Severity: Warn, onPair: delaySlotSpace,
			Doc: "The upstream of a delayed standby has that room, too: after a restart, or a lost connection, the standby asks for nothing until it has replayed what it has, and its slot keeps the rest."},
		{ID: "delay.archive-before-12", Severity: Block, onPair: delayArchive,
			Doc: "A delayed standby with an archive has PostgreSQL 12 or later. Before, its delay is there from the first start, and it would replay what the archive has, each transaction at its time, before it streams."},
	}
}

// will is the value that a setting of the standby has, or gets: of the inventory,
// of the running server, or of its own files; empty when not known.
func (p pair) will(name string) string {
	for _, s := range p.standby.inv.Postgres.Settings {
		if strings.EqualFold(s.Name, name) && !s.AtLeast {
			return s.Value
		}
	}
	if v := p.standby.setting(name); v != "" {
		return v
	}
	own, _ := p.own(name)
	return own
}

func isOn(value string) bool {
	return slices.Contains([]string{"on", "true", "yes", "1"}, strings.ToLower(value))
}

func syncTooFew(s subject) []found {
	names, err := postgres.ParseSyncStandbys(s.setting("synchronous_standby_names"))
	if err != nil || len(names.Names) == 0 || s.f.Server.InRecovery {
		return nil
	}
	var there []string
	for _, x := range s.f.Server.Senders {
		if x.State == "streaming" && names.Match(x.Application) {
			there = append(there, x.Application)
		}
	}
	who := "nobody"
	if len(there) > 0 {
		who = strings.Join(there, ", ")
	}
	text := fmt.Sprintf("commits wait for %d of %s", names.Num, strings.Join(names.Names, ", "))
	switch {
	case len(there) < names.Num:
		return one("bring a standby back, or: alter system set synchronous_standby_names = ''; select pg_reload_conf()", "%s, and %s streams: they wait now", text, who)
	case len(there) == names.Num:
		return []found{{severity: Note, text: fmt.Sprintf("%s, and %s streams: when one is lost they wait", text, who), remedy: "make one more standby synchronous"}}
	}
	return nil
}

func syncUnknown(s subject) []found {
	if s.inv.Role != inventory.Primary || s.cl.Replication.Synchronous.Number == 0 {
		return nil
	}
	value := s.setting("synchronous_standby_names")
	names, err := postgres.ParseSyncStandbys(value)
	if err != nil {
		return nil // no server has such a value
	}
	strange := s.cl.Strange(names.Names)
	if len(strange) == 0 {
		return nil
	}
	return one("take them out of synchronous_standby_names, or add them to the inventory",
		"synchronous_standby_names is %s: the inventory knows no host %s", value, strings.Join(strange, ", "))
}

func syncDelayed(p pair) []found {
	names, err := postgres.ParseSyncStandbys(p.upstream.setting("synchronous_standby_names"))
	if err != nil || p.standby.inv.ApplyDelay <= 0 || !names.Match(p.standby.inv.Name) {
		return nil
	}
	remedy := "take it out of synchronous_standby_names of " + p.upstream.inv.Name
	if p.upstream.setting("synchronous_commit") == "remote_apply" {
		return []found{{severity: Block, remedy: remedy, text: fmt.Sprintf("it replays %s late, and commits wait for it to replay them (synchronous_commit = remote_apply)", p.standby.inv.ApplyDelay)}}
	}
	return one(remedy, "it replays %s late and is synchronous: a session that sets synchronous_commit = remote_apply waits for as long", p.standby.inv.ApplyDelay)
}

func sourceFullPageWrites(s subject) []found {
	c := s.f.Data.Control
	if s.inv.Role == inventory.Primary || !s.f.Server.Running || !s.f.Server.InRecovery || s.f.Data.State != facts.Cluster || c.BlockSize == 0 || c.FullPageWrites {
		return nil
	}
	return one("on the primary: alter system set full_page_writes = on; select pg_reload_conf(); checkpoint", "WAL that it replayed was written with full_page_writes off")
}

// localOnly reports that a server with these listen_addresses is not reached from
// another host. What else they are cannot be judged from here: an address may be
// translated on the way.
func localOnly(value string) bool {
	for _, a := range strings.Split(value, ",") {
		switch strings.ToLower(strings.TrimSpace(a)) {
		case "", "localhost", "127.0.0.1", "::1":
		default:
			return false
		}
	}
	return true
}

const listenRemedy = "listen_addresses: '*' under settings: of %s in the inventory, or alter system set listen_addresses = '*'; then restart it"

func upstreamListens(p pair) []found {
	s, ok := p.upstream.settings.Lookup("listen_addresses")
	if !ok || !localOnly(s.Value) {
		return nil
	}
	return one(p.byRestart("listen_addresses", "'*'"), "listen_addresses of %s is %q: nobody reaches it from here", p.upstream.inv.Name, s.Value)
}

// byRestart is how the upstream gets a value that needs a restart: by one command, and
// without the standby where another one is, for nothing can be planned for it yet.
func (p pair) byRestart(name, value string) string {
	up, now := p.upstream.inv, p.upstream.setting(name)
	do := "to restart it: pgrepctl apply --restart=rolling"
	if len(p.upstream.cl.Standbys()) > 1 {
		do += " --without " + p.standby.inv.Name
	}
	do += "; then type the same command again"
	for _, set := range up.Postgres.Settings {
		if strings.EqualFold(set.Name, name) && set.Value != now {
			return do
		}
	}
	return fmt.Sprintf("%s: %s under settings: of %s in the inventory; %s", name, value, up.Name, do)
}

func standbyListens(p pair) []found {
	value := p.will("listen_addresses")
	if value == "" && p.config == nil {
		return nil // its configuration is not known, or comes with the copy
	}
	if value == "" {
		value = "localhost"
	}
	if !localOnly(value) {
		return nil
	}
	if below := p.standby.cl.Downstreams(p.standby.inv); len(below) > 0 {
		if p.standby.f.Server.Running {
			return nil // of its own standbys upstream.listens tells
		}
		// Said now, before anything is copied: once it runs, it takes a restart.
		return []found{{severity: Block, remedy: fmt.Sprintf("listen_addresses: '*' under settings: of %s in the inventory", p.standby.inv.Name),
			text: fmt.Sprintf("listen_addresses is %q, and %s is to stream from it: nobody would reach it", value, below[0].Name)}}
	}
	return one(fmt.Sprintf(listenRemedy, p.standby.inv.Name), "listen_addresses is %q: nobody would reach it as primary or upstream", value)
}

func standbyTLSOff(p pair) []found {
	on := p.standby.f.Server.SSL
	if !p.standby.f.Server.Running {
		if p.config == nil {
			return nil // its configuration comes with the copy
		}
		on = isOn(p.will("ssl"))
	}
	if on || !slices.Contains([]string{"require", "verify-ca", "verify-full"}, p.standby.cl.Replication.SSLMode) {
		return nil
	}
	return one("ssl: on under settings: of "+p.standby.inv.Name+" in the inventory, with a certificate there", "ssl is off, and replication.sslmode is %s", p.standby.cl.Replication.SSLMode)
}

func upstreamReceives(p pair) []found {
	up := p.upstream.f.Server
	if !p.target() || !up.Running || !up.InRecovery || up.Replay.ReceiverStatus == "streaming" || p.upstream.inv.Role == inventory.Primary {
		return nil
	}
	return one("see why: pgrepctl status", "%s receives nothing from %s: a copy of it would be as old as that", p.upstream.inv.Name, p.upstream.inv.UpstreamName)
}

func feedbackCut(p pair) []found {
	if p.upstream.inv.Role == inventory.Primary || !isOn(p.will("hot_standby_feedback")) {
		return nil
	}
	if v := p.upstream.setting("hot_standby_feedback"); v == "" || isOn(v) {
		return nil
	}
	return one("hot_standby_feedback: on for "+p.upstream.inv.Name+" too, or for neither",
		"hot_standby_feedback is on here and off on %s: none of it reaches the primary", p.upstream.inv.Name)
}

func delayFeedback(p pair) []found {
	if p.standby.inv.ApplyDelay <= 0 || !isOn(p.will("hot_standby_feedback")) {
		return nil
	}
	return one("hot_standby_feedback: off under settings: of "+p.standby.inv.Name+" in the inventory",
		"hot_standby_feedback is on: the primary keeps dead rows for %s and more", p.standby.inv.ApplyDelay)
}

func delayTraffic(p pair) []found {
	if p.standby.inv.ApplyDelay <= 0 || p.standby.inv.Traffic == "none" {
		return nil
	}
	return one("traffic: none for "+p.standby.inv.Name+" in the inventory", "it replays %s late, and may be given reads", p.standby.inv.ApplyDelay)
}

func delayDiffers(p pair) []found {
	// A halt at a target takes the delay away, and a bootstrap refuses before it sets it.
	if r := p.standby.f.Server.Replay; p.standby.f.Server.InRecovery && r.Target != "" {
		return []found{{id: "standby.at-target", remedy: "when it is no longer wanted: pgrepctl replay resume " + p.standby.inv.Name + " --follow",
			text: fmt.Sprintf("it was started with a recovery target (%s), and does not follow until that is taken away", r.Target)}}
	}
	s, ok := p.standby.settings.Lookup("recovery_min_apply_delay")
	if !ok || !p.standby.f.Server.InRecovery {
		return nil
	}
	ms, err := strconv.ParseInt(s.Value, 10, 64)
	if have := time.Duration(ms) * time.Millisecond; err == nil && have != p.standby.inv.ApplyDelay {
		return one("to set it: pgrepctl standby bootstrap "+p.standby.inv.Name, "recovery_min_apply_delay is %s, the inventory says %s", have, p.standby.inv.ApplyDelay)
	}
	return nil
}

func delayArchive(p pair) []found {
	v := p.upstream.f.Server.Version
	if p.standby.inv.ApplyDelay <= 0 || len(p.standby.cl.Archives) == 0 || !p.target() || v == 0 || v.UsesSignalFiles() {
		return nil
	}
	return one("take apply_delay of "+p.standby.inv.Name+" or archive: out of the inventory until it streams", "PostgreSQL %s would replay late what the archive has before it streams", v.Major())
}

func delaySpace(p pair) []found {
	if !p.target() && p.standby.f.Data.State != facts.Cluster {
		return nil
	}
	space := p.walSpace
	if r := p.standby.f.Server.Replay; r.Receive != nil && r.Replay != nil {
		space.FreeBytes += max(0, r.Receive.Sub(*r.Replay)) // what it holds now is part of it
	}
	return p.holds(p.standby.inv.Name, space, Block, "")
}

func delaySlotSpace(p pair) []found {
	if p.standby.inv.Slot == "" {
		return nil
	}
	return p.holds(p.upstream.inv.Name, p.upWALSpace, Warn, "slot "+p.standby.inv.Slot+" may keep it on "+p.upstream.inv.Name+" after a restart of the standby: ")
}

// holds compares the WAL of the delay with what is free where it lies.
func (p pair) holds(on string, space facts.Space, worst Severity, why string) []found {
	delay := p.standby.inv.ApplyDelay
	rate, window := p.upstream.f.WALRate()
	if delay <= 0 || rate == 0 || space.TotalBytes == 0 {
		return nil
	}
	need := int64(rate * delay.Seconds())
	f := found{severity: worst, remedy: "give pg_wal of " + on + " more room, or the standby less delay",
		text: fmt.Sprintf("%s%s of WAL in %s (at %s a second, as in the last %s), and %s are free in %s", why, postgres.PrettyBytes(need), delay, postgres.PrettyBytes(int64(rate)), window.Round(time.Second), postgres.PrettyBytes(space.FreeBytes), space.Path)}
	switch {
	case need > space.FreeBytes:
	case 2*need > space.FreeBytes:
		f.severity = Warn
	default:
		return nil
	}
	return []found{f}
}

// readWALSpace asks only of a delayed standby.
func (p *pair) readWALSpace(ctx context.Context) error {
	if p.standby.inv.ApplyDelay <= 0 {
		return nil
	}
	v := p.upstream.f.Server.Version
	for _, x := range []struct {
		of   subject
		into *facts.Space
	}{{p.standby, &p.walSpace}, {p.upstream, &p.upWALSpace}} {
		spaces, err := x.of.f.Space(ctx, x.of.inv.Postgres.OSUser, []string{x.of.inv.Postgres.WALAt(v)})
		if err != nil {
			return err
		}
		if len(spaces) == 1 {
			*x.into = spaces[0]
		}
	}
	return nil
}
