package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func sourceDown(s subject) []found {
	if s.f.Server.Running || s.f.Server.NotReady != "" {
		return nil
	}
	return one("start it", "no server runs there")
}

func sourceWALLevel(s subject) []found {
	level := s.setting("wal_level")
	if level == "" || s.f.Server.Version.WALLevelServesStandby(level) {
		return nil
	}
	return one("alter system set wal_level = "+s.f.Server.Version.StandbyWALLevel()+", then restart it at a quiet hour", "wal_level is %s", level)
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
	return one("let it end, or: select pg_stop_backup()", "an exclusive backup is in progress")
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

func tlsOff(s subject) []found {
	mode := s.cl.Replication.SSLMode
	if !s.f.Server.Running || s.f.Server.SSL || !slices.Contains([]string{"require", "verify-ca", "verify-full"}, mode) {
		return nil
	}
	return one("set ssl = on with a certificate, or replication.sslmode: prefer in the inventory", "ssl is off, and replication.sslmode is %s", mode)
}

func slotStrange(s subject) []found {
	var wanted []string
	for _, d := range s.cl.Downstreams(s.inv) {
		wanted = append(wanted, d.Slot)
	}
	var out []found
	for _, x := range s.f.Server.Slots {
		if x.Active || x.Temporary || slices.Contains(wanted, x.Name) {
			continue
		}
		text := "slot " + x.Name + " is used by nobody"
		if x.RetainedBytes != nil {
			text += fmt.Sprintf(" and keeps %d bytes of WAL", *x.RetainedBytes)
		}
		out = append(out, one(dropSlot(x.Name), "%s", text)...)
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
	return one(fmt.Sprintf("on %s: alter system set max_wal_senders = %d, then restart it at a quiet hour", p.upstream.inv.Name, used+5),
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
	return one(fmt.Sprintf("on %s: alter system set max_replication_slots = %d, then restart it at a quiet hour; or drop a slot that nobody needs", p.upstream.inv.Name, used+5),
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
	if !ok || s.WALStatus != "lost" {
		return nil
	}
	return one(dropSlot(s.Name)+"; its standby needs a new copy, in an empty data directory", "slot %s on %s has lost its WAL", s.Name, p.upstream.inv.Name)
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

func dropSlot(name string) string {
	return "if nobody needs it: select pg_drop_replication_slot('" + name + "')"
}
