package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
)

func sourceDown(s subject) []found {
	if s.f.Server.Running || s.f.Server.NotReady != "" {
		return nil
	}
	// An upstream that is a standby itself has nothing to start before it was made.
	if s.inv.Role == inventory.Standby && s.f.Data.State != facts.Cluster {
		return one("make it first: pgrepctl standby bootstrap "+s.inv.Name, "no server runs there: it is a standby that is still to be made")
	}
	return one("start it", "no server runs there")
}

func sourceWALLevel(s subject) []found {
	level := s.setting("wal_level")
	if level == "" || s.f.Server.Version.WALLevelServesStandby(level) {
		return nil
	}
	return one("to set it, restart it at once, and make the standbys: pgrepctl apply --restart=rolling; or restart it yourself after: alter system set wal_level = "+s.f.Server.Version.StandbyWALLevel(), "wal_level is %s", level)
}

func backupFromStandby(s subject) []found {
	if !s.f.Server.Running || !s.f.Server.InRecovery || s.f.Server.Version.StandbyBackup() {
		return nil
	}
	return one("let the standby stream from the primary", "PostgreSQL %s cannot make a backup of a standby", s.f.Server.Version.Major())
}

func exclusiveBackup(s subject) []found {
	if !s.f.Server.ExclusiveBackup {
		return nil
	}
	return one("let it end, or, if backup_label in the data directory names a run that nobody goes on with: select pg_stop_backup()", "an exclusive backup is in progress")
}

func psqlMissing(s subject) []found {
	if !s.f.Server.Running || !s.f.Server.BackupVersion().ExclusiveBackup() || s.f.Machine.Tools["psql"] != "" {
		return nil
	}
	return one("install PostgreSQL's client programs", "no psql, neither in %s nor on the PATH of %s", s.f.Machine.BinDirectory, s.inv.Postgres.OSUser)
}

func backupRunning(s subject) []found {
	n := 0
	for _, x := range s.f.Server.Senders {
		if x.State == "backup" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return one("wait until it has ended, if the disk is slow", "%d other base backup(s) running", n)
}

func archiveBlocksBackup(s subject) []found {
	if !s.f.Server.Running || !s.f.Server.Version.StopBackupWaitsForArchive() || !s.f.Server.Archiver.Failing() {
		return nil
	}
	return one("mend archive_command first", "the end of a backup would wait for the archiving of %s, which fails", s.f.Server.Archiver.FailedFile)
}

func roleExpired(s subject) []found {
	if !s.role.Expired {
		return nil
	}
	return one("alter role "+s.role.Name+" valid until 'infinity'", "the password of role %s is no longer valid", s.role.Name)
}

func roleSuperuser(s subject) []found {
	if !s.role.Superuser {
		return nil
	}
	return one("alter role "+s.role.Name+" nosuperuser", "role %s is a superuser", s.role.Name)
}

func roleNoSCRAM(s subject) []found {
	if s.cl.Replication.Binding != inventory.BindingRequire || s.role.Verifier.IsZero() || strings.HasPrefix(s.role.Verifier.Reveal(), "SCRAM-SHA-256$") {
		return nil
	}
	return one("set password_encryption = 'scram-sha-256'; \\password "+s.role.Name+", in one session of psql; or take channel_binding out of the inventory",
		"the password of role %s is not kept for SCRAM, and replication.channel_binding is require", s.role.Name)
}

func tlsOff(s subject) []found {
	mode := s.cl.Replication.SSLMode
	if !s.f.Server.Running || s.f.Server.SSL || !slices.Contains([]string{"require", "verify-ca", "verify-full"}, mode) {
		return nil
	}
	return one("set ssl = on with a certificate, or replication.sslmode: prefer in the inventory", "ssl is off, and replication.sslmode is %s", mode)
}

func slotStrange(s subject) []found {
	var out []found
	for _, x := range s.f.Server.Slots {
		lent := slot.LentTo(s.cl, s.inv, x, s.peers...)
		if lent == "" && !slot.Strange(s.cl, s.inv, x, s.peers...) {
			continue
		}
		text := "slot " + x.Name + " is used by nobody"
		if x.RetainedBytes != nil {
			text += " and keeps " + postgres.PrettyBytes(*x.RetainedBytes) + " of WAL"
		}
		if lent != "" {
			out = append(out, one("correct slot or upstream of "+lent+" in the inventory", "%s; %s is set to it, and the inventory does not say so", text, lent)...)
			continue
		}
		out = append(out, one("if nobody needs it: "+s.dropSlot(x), "%s", text)...)
	}
	return out
}

// slot is the standby's slot on its upstream.
func (p pair) slot() (facts.Slot, bool) {
	if p.standby.inv.Slot == "" {
		return facts.Slot{}, false
	}
	return p.upstream.f.Server.Slot(p.standby.inv.Slot)
}

func walSendersFull(p pair) []found {
	limit, ok := p.upstream.number("max_wal_senders")
	if !ok {
		return nil
	}
	if _, streams := p.upstream.f.Server.Sender(p.standby.inv.Name); streams {
		return nil
	}
	used := int64(len(p.upstream.f.Server.Senders))
	if used+1 <= limit {
		return nil
	}
	return one(p.byRestart("max_wal_senders", strconv.FormatInt(used+5, 10)),
		"max_wal_senders of %s is %d, and %d are in use", p.upstream.inv.Name, limit, used)
}

func slotsFull(p pair) []found {
	limit, ok := p.upstream.number("max_replication_slots")
	if !ok || p.standby.inv.Slot == "" {
		return nil
	}
	if _, exists := p.slot(); exists {
		return nil
	}
	used := int64(len(p.upstream.f.Server.Slots))
	if used+1 <= limit {
		return nil
	}
	return one("drop a slot that nobody needs (pgrepctl slot list); or "+p.byRestart("max_replication_slots", strconv.FormatInt(used+5, 10)),
		"max_replication_slots of %s is %d, and %d exist", p.upstream.inv.Name, limit, used)
}

func slotTaken(p pair) []found {
	s, ok := p.slot()
	remedy := "give another slot: for " + p.standby.inv.Name + " in the inventory"
	switch {
	case !ok:
		return nil
	case s.Type != "physical":
		return one(remedy, "slot %s on %s is %s", s.Name, p.upstream.inv.Name, s.Type)
	case s.Active && s.Client != "" && s.Client != p.standby.inv.Name && !p.standby.f.Server.InRecovery:
		return one(remedy, "slot %s on %s is in use by %s", s.Name, p.upstream.inv.Name, s.Client)
	}
	return nil
}

func slotLost(p pair) []found {
	s, ok := p.slot()
	if !ok || s.WALStatus != "lost" || p.reseed {
		return nil
	}
	if d := p.standby.f.Data; d.State == facts.Cluster && systemID(d) == p.upstreamID() && len(p.standby.cl.Archives) == 0 {
		return one("to make it anew, with the data: pgrepctl standby reseed "+p.standby.inv.Name, "slot %s on %s has lost its WAL", s.Name, p.upstream.inv.Name)
	}
	remedy := "a bootstrap makes it anew"
	if len(p.standby.cl.Archives) > 0 {
		remedy += ", and the archive gives what is missing"
	}
	return one(remedy+", once it is dropped: "+slot.DropCommandOf(p.upstream.inv.Name, p.standby.inv.Name, s), "slot %s on %s has lost its WAL", s.Name, p.upstream.inv.Name)
}

// slotIdleTimeout: the slot of a standby that is seeded again is used by nobody until the copy
// has ended.
func slotIdleTimeout(p pair) []found {
	if n, ok := p.upstream.number("idle_replication_slot_timeout"); !ok || n == 0 || !p.reseed || p.standby.inv.Slot == "" {
		return nil
	}
	return one("on "+p.upstream.inv.Name+", until the standby streams: alter system set idle_replication_slot_timeout = 0; select pg_reload_conf()",
		"idle_replication_slot_timeout is set on %s: a copy that takes longer loses the WAL that slot %s keeps for it", p.upstream.inv.Name, p.standby.inv.Slot)
}

// syncUnplanned looks at words, not at the grammar: FIRST and ANY are no names
// of hosts that anybody uses, and a name too many is only a warning.
func syncUnplanned(p pair) []found {
	names := p.upstream.setting("synchronous_standby_names")
	if _, streams := p.upstream.f.Server.Sender(p.standby.inv.Name); streams || names == "" {
		return nil
	}
	words := strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune(" ,()\t\"", r) })
	for _, w := range words {
		if w == "*" || strings.EqualFold(w, p.standby.inv.Name) {
			return one("take it out of synchronous_standby_names of "+p.upstream.inv.Name+" until it streams",
				"synchronous_standby_names of %s is %s: commits will wait for %s", p.upstream.inv.Name, names, p.standby.inv.Name)
		}
	}
	return nil
}
