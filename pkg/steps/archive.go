package steps

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// ArchiveDirectory makes the directories of WAL archives that the inventory lets
// it make: one that all hosts share from the primary, a standby's own on the standby.
type ArchiveDirectory struct{}

var _ Step = (*ArchiveDirectory)(nil)

// Plan leaves a directory that exists as it is.
func (*ArchiveDirectory) Plan(ctx context.Context, in In) (Planned, error) {
	if len(in.Cluster.Archives) == 0 {
		return noop("the inventory has no archive"), nil
	}
	var p Planned
	var there []string
	for _, a := range in.Cluster.Archives {
		hst := in.Self
		if a.Shared {
			hst = in.Cluster.Primary()
		}
		h, err := in.Facts.Of(ctx, hst.Name)
		if err != nil {
			return Planned{}, err
		}
		as := hst.Postgres.OSUser
		spaces, err := h.Space(ctx, as, []string{a.Directory})
		if err != nil {
			return Planned{}, err
		}
		switch {
		case len(spaces) == 1 && spaces[0].Exists:
			there = append(there, a.Directory+" is there")
		case !a.Create:
			there = append(there, a.Directory+" is not to be made")
		default:
			p.Effects = append(p.Effects, &effect.MakeDir{Host: hst.Name, As: as, Path: a.Directory, Mode: 0o700, Why: "(a WAL archive)"})
		}
	}
	if len(p.Effects) == 0 {
		return noop("%s", strings.Join(there, ", ")), nil
	}
	return p, nil
}

// restoreCommand fetches a WAL file from the first archive that has it. Its exit
// status is never above 125, which would end recovery, and it is silent when no
// archive has the file, which is the usual case.
func restoreCommand(archives []inventory.Archive) (string, error) {
	var tries []string
	for _, a := range archives {
		// %f is what PostgreSQL puts the file's name for, so it stays as it is.
		file, err := shell.Quote(escapePercent(path.Clean(a.Directory)) + "/%f")
		if err != nil {
			return "", fmt.Errorf("restore_command: %w", err)
		}
		tries = append(tries, fmt.Sprintf(`test -f %s && cp %s "%%p"`, file, file))
	}
	if len(tries) == 1 {
		return tries[0], nil
	}
	return "{ " + strings.Join(tries, "; } || { ") + "; }", nil
}

// cleanupCommand removes what no restart needs any more from the archives that
// are this standby's own; "" when there are none. Another reader of a shared
// archive may still need what this one does not.
func cleanupCommand(archives []inventory.Archive, h *facts.Host) (string, error) {
	var all []string
	for _, a := range archives {
		if a.Shared {
			continue
		}
		line, err := shell.Quote(escapePercent(path.Join(h.Machine.BinDirectory, "pg_archivecleanup")), escapePercent(path.Clean(a.Directory)))
		if err != nil {
			return "", fmt.Errorf("archive_cleanup_command: %w", err)
		}
		all = append(all, line+" %r")
	}
	return strings.Join(all, "; "), nil
}

// escapePercent: PostgreSQL puts something for each %x in its commands, and one
// percent sign for %%.
func escapePercent(s string) string { return strings.ReplaceAll(s, "%", "%%") }
