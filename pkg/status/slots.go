package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

// SlotsFormat names the JSON form of a SlotReport, with the same promise as
// Format.
const SlotsFormat = "pgrepctl.slots/v1"

// Sample is what was learnt of the WAL of one host: two readings, or why there are
// none. Without a sample Before and After are the same reading.
type Sample struct {
	Before, After facts.WAL
	Err           error
}

// SlotReport is every slot of every host that can send WAL. Hosts are in the
// inventory's order, the slots of one by name.
type SlotReport struct {
	Format  string `json:"format"`
	Cluster string `json:"cluster"`
	Healthy bool   `json:"healthy"` // no note is a Problem
	// SampleSeconds is the time between the two readings; 0 is one reading,
	// and no rate is known.
	SampleSeconds float64      `json:"sample_seconds"`
	Hosts         []SlotSender `json:"hosts"`
}

// SlotSender is one host. Sizes are bytes; nil is not known.
type SlotSender struct {
	Host          string         `json:"host"`
	InventoryRole inventory.Role `json:"inventory_role"`
	Role          inventory.Role `json:"role,omitempty"` // what the server says
	Version       string         `json:"version,omitempty"`
	LSN           string         `json:"lsn,omitempty"` // written on a primary, received on a standby
	// ReadAt is the server's clock at the second reading, in seconds since 1970:
	// what is foretold counts from then.
	ReadAt float64 `json:"read_at,omitempty"`
	// WALRate is in bytes a second.
	WALRate *float64 `json:"wal_bytes_per_second"`
	// FreeBytes and TotalBytes are of the file system of the WAL directory;
	// RoomBytes is how much more WAL it takes.
	FreeBytes  *int64 `json:"free_bytes"`
	TotalBytes *int64 `json:"total_bytes"`
	RoomBytes  *int64 `json:"room_bytes"`
	// FullSeconds is the least of its slots.
	FullSeconds *float64 `json:"full_seconds"`
	// LimitSetting is max_slot_wal_keep_size, empty before 13; LimitBytes nil
	// is no limit.
	LimitSetting string    `json:"limit_setting,omitempty"`
	LimitBytes   *int64    `json:"limit_bytes"`
	KeepSetting  string    `json:"keep_setting,omitempty"` // wal_keep_size, or wal_keep_segments
	KeepBytes    *int64    `json:"keep_bytes"`
	ArchiveMode  string    `json:"archive_mode,omitempty"`
	Slots        []SlotRow `json:"slots"`
	Notes        []Note    `json:"notes,omitempty"`
}

// SlotRow is one slot.
type SlotRow struct {
	Slot string `json:"slot"`
	Type string `json:"type"`
	slot.Owner
	// Retired is the standby that has left it behind, of an orphan.
	Retired   string `json:"retired,omitempty"`
	Active    bool   `json:"active"`
	Client    string `json:"client,omitempty"` // application_name of who uses it
	WALStatus string `json:"wal_status,omitempty"`
	// Invalidation is why it is lost (17+).
	Invalidation  string   `json:"invalidation_reason,omitempty"`
	SafeWALSize   *int64   `json:"safe_wal_size"`
	RetainedBytes *int64   `json:"retained_bytes"`
	Growth        *float64 `json:"growth_bytes_per_second"`
	FullSeconds   *float64 `json:"full_seconds"`
	LostSeconds   *float64 `json:"lost_seconds"`
	// Drop is the command that drops it, of one that nobody uses.
	Drop string `json:"drop,omitempty"`
	// MayUse are standbys that may come back to it, of one that seems to be nobody's: what
	// they are set to is not known.
	MayUse []string `json:"may_use,omitempty"`
}

// doubted says so, after what is said of a slot that nobody uses.
func (r SlotRow) doubted() string {
	const few = 3
	names := r.MayUse
	if len(names) == 0 {
		return ""
	}
	if len(names) > few {
		names = append(slices.Clone(names[:few]), fmt.Sprintf("one of %d more", len(names)-few))
	}
	return ", unless " + strings.Join(names, " or ") + " comes back to it, which is not known"
}

const (
	// soon is when somebody has to act today.
	soon = 24 * time.Hour
	// near is when somebody has to act this week.
	near = 7 * 24 * time.Hour
)

func (s *SlotSender) note(sev Severity, id, text, hint string) {
	s.Notes = append(s.Notes, Note{Severity: sev, ID: id, Text: text, Hint: hint})
}

// BuildSlots makes the report of the hosts that have a result. sample is the time
// between two readings, 0 for one; retired are the standbys that a journal says were
// taken out.
func BuildSlots(cl *inventory.Cluster, results map[string]Result, retired map[string]member.Retirement, samples map[string]Sample, sample time.Duration) SlotReport {
	c := take(cl, results, retired)
	rep := SlotReport{Format: SlotsFormat, Cluster: cl.Name, Healthy: true, SampleSeconds: sample.Seconds(), Hosts: []SlotSender{}}
	for _, h := range cl.Hosts {
		res, ok := results[h.Name]
		if !ok {
			continue
		}
		s := buildSender(c, h, res, samples[h.Name])
		for _, n := range s.Notes {
			if n.Severity == Problem {
				rep.Healthy = false
			}
		}
		rep.Hosts = append(rep.Hosts, s)
	}
	return rep
}

func buildSender(c census, h *inventory.Host, res Result, sample Sample) SlotSender {
	s := SlotSender{Host: h.Name, InventoryRole: h.Role, Slots: []SlotRow{}}
	if r, out := c.out[h.Name]; out {
		s.note(Info, "retired", r.String(), r.Hint)
		return s
	}
	cl := c.in
	err := res.Err
	if err == nil && res.Facts != nil && res.Facts.Server.Running {
		err = sample.Err
	}
	switch {
	case err != nil:
		hint := ""
		var f *fault.Error
		if errors.As(err, &f) {
			hint = f.Hint
		}
		s.note(Problem, "unreachable", strings.TrimPrefix(err.Error(), h.Name+": "), hint)
		return s
	case res.Facts == nil || !res.Facts.Server.Running:
		severity := Info // a host that waits for its bootstrap, say
		if len(cl.Downstreams(h)) > 0 {
			severity = Problem
		}
		s.note(severity, "no-server", "no server runs, so its slots are not known", "pgrepctl status")
		return s
	}
	s.describe(res.Facts.Server, sample.After)
	s.WALRate = slot.Rate(sample.Before, sample.After)
	for _, x := range sample.After.Slots {
		s.add(c, h, x, sample)
	}
	s.missing(cl, h, sample.After)
	s.limits(res.Facts.Server, sample.After)
	s.withoutSlots(cl, h)
	if res.Facts.Server.Archiver.Failing() {
		s.note(Warning, "archiving-fails", "archiving of "+res.Facts.Server.Archiver.FailedFile+" fails: WAL piles up, whatever slots keep", "see the server log of "+h.Name)
	}
	return s
}

func (s *SlotSender) describe(server facts.Server, w facts.WAL) {
	s.Role = inventory.Primary
	if server.InRecovery {
		s.Role = inventory.Standby
	}
	room := slot.Room(w)
	s.Version, s.LSN, s.ArchiveMode = server.Version.String(), w.LSN.String(), w.ArchiveMode
	s.ReadAt = w.At
	s.KeepSetting, s.LimitSetting, s.LimitBytes = server.Version.KeepWALSetting(), server.Version.SlotLimitSetting(), w.SlotLimit
	s.FreeBytes, s.TotalBytes, s.RoomBytes, s.KeepBytes = &w.Space.FreeBytes, &w.Space.TotalBytes, &room, &w.Keep
}

func (s *SlotSender) add(c census, h *inventory.Host, x facts.Slot, sample Sample) {
	f := slot.ForecastOf(sample.Before, sample.After, x.Name)
	row := SlotRow{Slot: x.Name, Type: x.Type, Owner: slot.OwnerOf(c.in, h, x, c.peers...), Retired: c.leftBy(h, x), Active: x.Active, Client: x.Client, WALStatus: x.WALStatus, Invalidation: x.InvalidationReason,
		SafeWALSize: x.SafeWALSize, RetainedBytes: slot.Kept(sample.After, x), Growth: f.Growth, FullSeconds: f.Full, LostSeconds: f.Lost}
	if c.strange(h, x) {
		row.Drop = c.drop(h, x)
		doubt := slot.DoubtOf(c.in, h, x, c.peers...)
		row.MayUse = slices.Concat(doubt.Unread, doubt.Down)
	}
	if f.Full != nil && (s.FullSeconds == nil || *f.Full < *s.FullSeconds) {
		s.FullSeconds = f.Full
	}
	s.Slots = append(s.Slots, row)
	s.judge(row, comesOfAge(c.in, row.Host, c.peers))
}

// comesOfAge: see facts.Host.ComesOfAge, of a standby of that name.
func comesOfAge(cl *inventory.Cluster, name string, peers []*facts.Host) bool {
	h, ok := cl.Host(name)
	return ok && slices.ContainsFunc(peers, func(f *facts.Host) bool { return f.Name == name && f.ComesOfAge(h.ApplyDelay) })
}

// judge says what of a slot somebody has to know. late: its standby receives nothing
// until it has replayed what it has.
func (s *SlotSender) judge(r SlotRow, late bool) {
	needed := r.Use == slot.Needed || r.Use == slot.Guest
	bad := Warning
	if needed {
		bad = Problem
	}
	name := "slot " + r.Slot
	if r.Host != "" {
		name += " of " + r.Host
	}
	if r.Retired != "" {
		name += ", an orphan of " + r.Retired + ", which was taken out of the cluster,"
	}
	switch {
	case r.WALStatus == "lost":
		s.lost(r, name, needed)
	case r.Drop != "":
		s.note(Warning, "strange-slot", name+" is used by nobody, and keeps WAL until the disk is full"+r.doubted(), "if nobody needs it: "+r.Drop)
	case r.Use == slot.Orphan:
		who := "a session"
		if r.Client != "" {
			who = r.Client
		}
		s.note(Info, "unknown-receiver", fmt.Sprintf("%s is in use by %s, which the inventory does not know", name, who), "")
	case r.Use == slot.Guest:
		s.note(Warning, "other-slot", fmt.Sprintf("%s streams by slot %s, or is set to, and the inventory does not say so", r.Host, r.Slot), "correct slot or upstream of "+r.Host+" in the inventory")
	case needed && !r.Active && late:
		s.note(Info, "slot-inactive", name+" keeps WAL for it until "+r.Host+" has replayed what it has, late as it should", "watch the space here meanwhile")
	case needed && !r.Active:
		s.note(Warning, "slot-inactive", name+" is used by nobody now, and keeps WAL for it", "bring "+r.Host+" back; if it does not come back: pgrepctl standby retire "+r.Host)
	}
	if r.WALStatus == "unreserved" {
		s.note(bad, "slot-unreserved", name+" loses its WAL at the next checkpoint", "bring its receiver back at once, or: pgrepctl slot limit none --on "+s.Host)
	} else if r.LostSeconds != nil && within(*r.LostSeconds, soon) {
		s.note(bad, "slot-lost-soon", name+" reaches "+s.LimitSetting+" within a day at this rate, and then loses its WAL", "bring its receiver back, or raise the limit: pgrepctl slot limit SIZE --on "+s.Host)
	}
	if r.FullSeconds == nil {
		return
	}
	hint := "bring its receiver back"
	switch {
	case r.Drop != "" && r.doubted() != "":
		hint = "if nobody needs it: " + r.Drop
	case r.Drop != "":
		hint = r.Drop
	case r.Host != "":
		hint = "bring " + r.Host + " back; to give it up, for the sake of this server: " + slot.DropCommandOf(s.Host, r.Host, facts.Slot{Name: r.Slot})
		if r.Active { // its standby is slower than what is written
			hint = "let " + r.Host + " catch up; to give it up, for the sake of this server: " + slot.DropCommandOf(s.Host, r.Host, facts.Slot{Name: r.Slot}) + " --terminate"
		}
	case r.Use == slot.Orphan:
		hint += "; to give it up: " + slot.DropCommand(s.Host, facts.Slot{Name: r.Slot}) + " --terminate"
	}
	switch {
	case within(*r.FullSeconds, soon):
		s.note(Problem, "disk-full-soon", name+" fills the file system of the WAL within a day at this rate; the server stops then", hint)
	case within(*r.FullSeconds, near):
		s.note(Warning, "disk-full", name+" fills the file system of the WAL within a week at this rate", hint)
	}
}

// lost says of a slot that keeps no WAL any more why, and what to do about it.
func (s *SlotSender) lost(r SlotRow, name string, needed bool) {
	text := name + " " + slot.Loss(r.Invalidation) + ": "
	switch {
	case !needed:
		s.note(Warning, "slot-lost", text+"it keeps no WAL", r.Drop)
	case r.Invalidation != slot.IdleTimeout:
		s.note(Problem, "slot-lost", text+r.Host+" has to be made anew", "pgrepctl standby reseed "+r.Host)
	case r.Use == slot.Guest: // the slot that the inventory gives it is another one
		s.note(Problem, "slot-lost", text+r.Host+" cannot stream by it any more", "to have it use the slot of the inventory: pgrepctl standby bootstrap "+r.Host)
	default:
		s.note(Problem, "slot-lost", text+r.Host+" cannot stream by it any more", renew(slot.DropCommandOf(s.Host, r.Host, facts.Slot{Name: r.Slot}), r.Host, ""))
	}
}

func within(seconds float64, d time.Duration) bool { return seconds < d.Seconds() }

// missing names slots that standbys of the inventory are to stream by, and that
// do not exist.
func (s *SlotSender) missing(cl *inventory.Cluster, h *inventory.Host, w facts.WAL) {
	for _, d := range cl.Downstreams(h) {
		if d.Slot == "" {
			continue
		}
		if _, ok := (&facts.Server{Slots: w.Slots}).Slot(d.Slot); !ok && slices.ContainsFunc(w.Slots, slot.IsHeld) {
			s.note(Info, "slot-missing", fmt.Sprintf("slot %s of %s does not exist; a copy goes on, at whose end a slot is made", d.Slot, d.Name), "")
		} else if !ok {
			s.note(Problem, "slot-missing", fmt.Sprintf("slot %s of %s does not exist: WAL that it needs can go", d.Slot, d.Name),
				"to make it with the standby: pgrepctl standby bootstrap "+d.Name+"; for one that runs: pgrepctl slot create --for "+d.Name)
		}
	}
}

// limits says what bounds the slots of a server that has some.
func (s *SlotSender) limits(server facts.Server, w facts.WAL) {
	if len(w.Slots) == 0 {
		return
	}
	switch {
	case s.LimitSetting == "":
		s.note(Info, "no-slot-limit", "PostgreSQL "+server.Version.Major()+" cannot limit what a slot keeps (13 can): a forgotten one fills the disk; instead of slots, "+s.alternatives(), "")
	case w.SlotLimit == nil:
		s.note(Info, "no-slot-limit", s.LimitSetting+" is not set: a forgotten slot fills the disk", "pgrepctl slot limit SIZE --on "+s.Host)
	case *w.SlotLimit > w.Space.TotalBytes && w.Space.TotalBytes > 0:
		s.note(Warning, "limit-above-disk", s.LimitSetting+" is more than the file system of the WAL holds: it protects from nothing", "pgrepctl slot limit SIZE --on "+s.Host)
	}
}

// alternatives to slots, and how they stand.
func (s *SlotSender) alternatives() string {
	return fmt.Sprintf("%s (now %d MB) and the archive (archive_mode is %s) keep WAL for standbys", s.KeepSetting, *s.KeepBytes>>20, s.ArchiveMode)
}

// withoutSlots names the standbys for which nothing keeps WAL but these two.
func (s *SlotSender) withoutSlots(cl *inventory.Cluster, h *inventory.Host) {
	var names []string
	for _, d := range cl.Downstreams(h) {
		if d.Slot == "" {
			names = append(names, d.Name)
		}
	}
	if len(names) > 0 {
		s.note(Info, "without-slot", strings.Join(names, ", ")+": no slot in the inventory; "+s.alternatives(), "")
	}
}
