package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// archiveChecks look at both ends of an archive: where the primary puts WAL files,
// and where standbys fetch them.
func archiveChecks() []Check {
	return []Check{
		{ID: "archive.missing", Severity: Block, onHost: archiveMissing,
			Doc: "The directory of an archive is there on every host that reaches it, or the inventory lets a bootstrap make it and its parent is there."},
		{ID: "archive.no-access", Severity: Block, onHost: archiveNoAccess,
			Doc: "The server's OS user can write to a shared archive on the primary, read it on standbys, and do both in a standby's own, which it cleans."},
		{ID: "archive.no-cleanup", Severity: Block, onHost: archiveNoCleanup,
			Doc: "pg_archivecleanup is beside the server's programs of a standby with an archive of its own: without it nothing is removed there, until the disk is full."},
		{ID: "archive.off", Severity: Warn, onHost: archiveOff,
			Doc: "Where the inventory has an archive, the primary fills it: archive_mode is on, and there is an archive_command or archive_library."},
	}
}

// archivesOf asks a host about the directories of all archives.
func archivesOf(ctx context.Context, cl *inventory.Cluster, h *inventory.Host, f *facts.Host) ([]facts.Access, error) {
	var dirs []string
	for _, a := range cl.Archives {
		dirs = append(dirs, a.Directory)
	}
	return f.Access(ctx, h.Postgres.OSUser, dirs)
}

// cleans reports whether a standby has the program that cleans its own archives.
func cleans(ctx context.Context, cl *inventory.Cluster, h *inventory.Host, f *facts.Host) (bool, error) {
	own := slices.ContainsFunc(cl.Archives, func(a inventory.Archive) bool { return !a.Shared })
	if !own || h.Role != inventory.Standby || f.Machine.BinDirectory == "" {
		return true, nil
	}
	entries, err := f.List(ctx, h.Postgres.OSUser, f.Machine.BinDirectory)
	if err != nil {
		return false, fmt.Errorf("list %s of %s: %w", f.Machine.BinDirectory, h.Name, err)
	}
	return slices.ContainsFunc(entries, func(e host.Entry) bool { return e.Name == "pg_archivecleanup" }), nil
}

func archiveNoCleanup(s subject) []found {
	if s.cleans {
		return nil
	}
	return one("install it: it comes with the server's packages, or with those named contrib", "no pg_archivecleanup in %s: nothing would be removed from its archive", s.f.Machine.BinDirectory)
}

// quoted is a path for a command to type.
func quoted(dir string) string {
	line, err := shell.Quote(dir)
	if err != nil {
		return dir
	}
	return line
}

// ends are the archives that a host reaches, with what its OS user may do there.
func (s subject) ends(see func(a inventory.Archive, is facts.Access) []found) []found {
	var out []found
	for i, a := range s.cl.Archives {
		if s.reaches(a) && i < len(s.archives) {
			out = append(out, see(a, s.archives[i])...)
		}
	}
	return out
}

// reaches: to a standby's own directory the primary sends, by whatever way.
func (s subject) reaches(a inventory.Archive) bool {
	return a.Shared || s.inv.Role == inventory.Standby
}

func archiveMissing(s subject) []found {
	user := s.inv.Postgres.OSUser
	return s.ends(func(a inventory.Archive, is facts.Access) []found {
		// A shared one is made on the primary.
		if is.Exists || a.Create && (is.Make || a.Shared && s.inv.Role == inventory.Standby) {
			return nil
		}
		text := "no directory " + a.Directory + " for WAL files"
		if a.Create {
			text += ", and " + user + " cannot make it"
		}
		return one(fmt.Sprintf("sudo install -d -m 700 -o %s -g %s %s", user, user, quoted(a.Directory)), "%s", text)
	})
}

func archiveNoAccess(s subject) []found {
	user := s.inv.Postgres.OSUser
	return s.ends(func(a inventory.Archive, is facts.Access) []found {
		fills := s.inv.Role == inventory.Primary || !a.Shared
		switch {
		case !is.Exists:
		case !is.Read:
			return one("let "+user+" read it", "%s cannot read %s, which belongs to %s", user, a.Directory, is.Owner)
		case fills && !is.Write:
			return one(fmt.Sprintf("sudo chown %s: %s", user, quoted(a.Directory)), "%s cannot write to %s, which belongs to %s", user, a.Directory, is.Owner)
		}
		return nil
	})
}

func archiveOff(s subject) []found {
	if s.inv.Role != inventory.Primary || len(s.cl.Archives) == 0 || !s.f.Server.Running {
		return nil
	}
	const remedy = "give archive_mode and archive_command under settings: of the inventory: docs/roles.md has one to copy"
	switch mode := s.setting("archive_mode"); {
	case mode == "off":
		return one(remedy+"; archive_mode needs a restart", "archive_mode is off: nothing fills the archive of the inventory")
	case mode != "" && s.setting("archive_library") == "" && (s.setting("archive_command") == "" || s.setting("archive_command") == "(disabled)"):
		return one(remedy, "there is no archive_command: nothing fills the archive of the inventory, and WAL piles up")
	}
	return nil
}
