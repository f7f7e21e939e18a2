package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func bridgeMissing(s subject) []found {
	for _, t := range []string{"perl", "python3", "socat"} {
		if s.f.Machine.Tools[t] != "" {
			return nil
		}
	}
	return one("sudo apt-get install perl, or sudo dnf install perl", "neither perl nor python3 nor socat")
}

func toolMissing(s subject) []found {
	var out []found
	for _, t := range []struct{ name, pkg string }{{"find", "findutils"}, {"sync", "coreutils"}} {
		if s.f.Machine.Tools[t.name] == "" {
			out = append(out, one("sudo apt-get install "+t.pkg+", or sudo dnf install "+t.pkg, "no program %s", t.name)...)
		}
	}
	return out
}

func binariesMissing(s subject) []found {
	if s.f.Machine.BinDirectory != "" {
		return nil
	}
	where := "no PostgreSQL " + s.inv.Postgres.Version + " server found"
	if d := s.inv.Postgres.BinDirectory; d != "" {
		where = "no program postgres in " + d
	}
	return one("sudo apt-get install postgresql-"+s.inv.Postgres.Version+", or give bin_directory in the inventory", "%s", where)
}

func binariesOtherMajor(s subject) []found {
	m := s.f.Machine
	if m.BinDirectory == "" || m.BinVersion.Major() == s.inv.Postgres.Version {
		return nil
	}
	return one("give bin_directory in the inventory, or sudo apt-get install postgresql-"+s.inv.Postgres.Version,
		"%s has PostgreSQL %s, the inventory says %s", m.BinDirectory, m.BinVersion, s.inv.Postgres.Version)
}

// runInterrupted: the engine knows which open run a command goes on with, and refuses
// by itself. Runs that are done at once have journals of each other in sight. So it
// blocks nothing but an answer of doctor.
func runInterrupted(s subject) []found {
	severity := Block
	if s.run != "" {
		severity = Warn
	}
	var out []found
	for _, r := range s.f.Runs {
		if r.Cluster == s.cl.Name && r.ID != s.run && !s.f.Server.Holds(r.ID) {
			out = append(out, found{severity: severity, text: fmt.Sprintf("%s is not finished: no other run begins", r),
				remedy: "to go on: pgrepctl runs resume " + r.ID + "; to take it back: pgrepctl runs undo " + r.ID})
		}
	}
	return out
}

const (
	skewFar  = time.Minute
	skewSome = 2 * time.Second
)

func clockFar(s subject) []found {
	if d := s.f.Machine.Skew.Abs(); d > skewFar {
		return one("sudo chronyc makestep", "its clock is %s off from this machine's", d.Round(time.Second))
	}
	return nil
}

func clockSkew(s subject) []found {
	if d := s.f.Machine.Skew.Abs(); d > skewSome && d <= skewFar {
		return one("sudo chronyc makestep", "its clock is %s off from this machine's", d.Round(100*time.Millisecond))
	}
	return nil
}

func serverNotReady(s subject) []found {
	if s.f.Server.NotReady == "" {
		return nil
	}
	return one(fmt.Sprintf("if it is starting up, wait and type the same command again; else see its server log, and whether it listens on port %d, which the inventory has", s.inv.Postgres.Port),
		"process %d runs and accepts no session: %s", s.f.Data.PID, s.f.Server.NotReady)
}

func serverAnother(s subject) []found {
	if !s.f.Server.Running || s.f.Data.PID != 0 || s.f.Server.DataDirectory == s.f.Data.Path {
		return nil
	}
	return one("correct port or data_directory in the inventory",
		"the server on port %d has data directory %s, the inventory says %s", s.inv.Postgres.Port, s.f.Server.DataDirectory, s.f.Data.Path)
}

func serverVersion(s subject) []found {
	if !s.f.Server.Running || s.f.Server.Version.Major() == s.inv.Postgres.Version {
		return nil
	}
	return one("correct postgres.version in the inventory", "its server is PostgreSQL %s, the inventory says %s", s.f.Server.Version, s.inv.Postgres.Version)
}

func serverRole(s subject) []found {
	if s.inv.Role != inventory.Primary || !s.f.Server.Running || !s.f.Server.InRecovery {
		return nil
	}
	return one("name the present primary in the inventory", "it is in recovery, the inventory says primary")
}

func writableTwin(s subject) []found {
	if s.inv.Role != inventory.Standby || !s.f.Server.Running || s.f.Server.InRecovery {
		return nil
	}
	return one("stop it at once; or, if it was promoted, make it the primary in the inventory", "it takes writes, the inventory says standby")
}

func issues(list []postgres.Issue) []found {
	var out []found
	for _, i := range list {
		remedy := i.Action
		if i.FixedIn != 0 {
			remedy = "update to " + i.FixedIn.String() + " or later"
			if i.Action != "" {
				remedy += "; " + i.Action
			}
		}
		out = append(out, found{id: i.ID, severity: Severity(i.Severity), text: i.Problem, remedy: remedy})
	}
	return out
}

func knownBad(s subject) []found {
	if !s.f.Server.Running {
		return nil
	}
	return issues(postgres.KnownBad(s.f.Server.Version, s.settings))
}

func collationVersion(s subject) []found {
	var out []found
	for _, c := range s.sorting.Collations {
		remedy := "in each of them: reindex what sorts text, then alter database … refresh collation version"
		if s.f.Server.InRecovery {
			remedy = "use the release of the operating system that its primary has; if the primary says the same, mend it there"
		}
		out = append(out, one(remedy, "databases that were made with version %s of what sorts their text, which is %s now: %s", c.Recorded, c.Actual, strings.Join(c.Databases, ", "))...)
	}
	return out
}

func endOfLife(s subject) []found {
	v, now := s.f.Server.Version, s.f.Machine.Clock
	day, ok := v.EndOfLife()
	if !s.f.Server.Running || !ok || now.IsZero() || now.Before(day) {
		return nil
	}
	return one("plan an upgrade to a later major version", "PostgreSQL %s has had no fixes since %s", v.Major(), day.Format(time.DateOnly))
}

func configErrors(s subject) []found {
	var out []found
	for _, e := range s.errors {
		text := e.Message
		if e.Name != "" {
			text = e.Name + ": " + text
		}
		out = append(out, one("mend line "+fmt.Sprint(e.Line)+" of "+e.File, "%s:%d: %s", e.File, e.Line, text)...)
	}
	return out
}

func pendingRestart(s subject) []found {
	if len(s.f.Server.PendingRestart) == 0 {
		return nil
	}
	return one("restart it at a quiet hour, or take the change back", "changed, and waiting for a restart: %s", strings.Join(s.f.Server.PendingRestart, ", "))
}

func archiveFailing(s subject) []found {
	if !s.f.Server.Archiver.Failing() {
		return nil
	}
	return one("see its server log; the command is archive_command", "archiving of %s fails", s.f.Server.Archiver.FailedFile)
}

func fsyncOff(s subject) []found {
	if s.setting("fsync") != "off" {
		return nil
	}
	return one("alter system set fsync = on; select pg_reload_conf()", "fsync is off")
}

func fullPageWritesOff(s subject) []found {
	if s.setting("full_page_writes") != "off" {
		return nil
	}
	return one("alter system set full_page_writes = on; select pg_reload_conf()", "full_page_writes is off")
}

func checksumsOff(s subject) []found {
	if s.f.Data.State != facts.Cluster || s.f.Data.Control.DataChecksumVersion != 0 || s.f.Data.Control.BlockSize == 0 {
		return nil
	}
	return one("at the next downtime: pg_checksums --enable (12 and later)", "data checksums are off")
}
