package postgres

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Files that this project itself leaves in a data directory while it is being
// filled.
const (
	// RunMarker says which run owns a data directory that is not finished.
	RunMarker = "pgrepctl.run"
	// ControlFile is fetched by itself, after everything else.
	ControlFile = "global/pg_control"
	// PendingControlFile holds the fetched control file until the copy is
	// complete: without global/pg_control no server starts on it.
	PendingControlFile = "global/pg_control.pgrepctl.tmp"
	// OldControlFile is global/pg_control of data that are to be overwritten: it is
	// put back if they never are, and deleted by the copy.
	OldControlFile = "global/pg_control.pgrepctl.old"
)

// Exclude is one path of a data directory that a copy leaves out.
type Exclude struct {
	// Pattern is in rsync's filter syntax; a leading slash is the root of the
	// transfer, the data directory.
	Pattern string
	Reason  string
}

// BackupExcludes is what an rsync of a data directory leaves out during a
// backup: what pg_basebackup of the same version leaves out (sendDir in
// basebackup.c), and what would make the copy start as something else than a
// standby.
//
// The WAL directory is excluded itself and not by /pg_wal/*: where it is a
// symlink on the source, that pattern makes rsync replace the copy's own
// directory by a symlink to the source's path. So is pg_stat_tmp, which some have on a
// memory file system. Of other directories that must exist at start only the contents
// are excluded; see RequiredDirs.
//
// Unlogged relations are copied. Recovery resets them from their _init forks, so
// leaving them out saves time only, and needs a list made from the catalogs.
//
// With --delete rsync leaves excluded files of the target alone. A copy onto an
// existing directory has to remove them first.
func (v Version) BackupExcludes() []Exclude {
	x := []Exclude{
		{"/" + ControlFile, "copied by itself, last"},
		{"/" + v.WALDir(), "recovery streams the WAL it needs"},
		{"/postmaster.pid", "names the source's process"},
		{"/postmaster.opts", "written at every start"},
		{"/postgresql.auto.conf.tmp", "left by an interrupted ALTER SYSTEM"},
		{"pgsql_tmp*", "temporary files, anywhere"},
		{"/pg_replslot/*", "slots of the source would keep WAL on the copy for ever"},
		{"/pg_stat_tmp", "statistics of the source's running server"},
	}
	if !v.ExclusiveBackup() {
		// In exclusive mode these two are the label and the map of this
		// very backup, and have to be copied.
		x = append(x,
			Exclude{"/backup_label", "belongs to another backup; ours is returned by the stop of the backup"},
			Exclude{"/tablespace_map", "belongs to another backup"})
	}
	x = append(x,
		Exclude{"/backup_label.old", "belongs to another backup"},
		Exclude{"/tablespace_map.old", "belongs to another backup"})
	if v.AtLeast(10) {
		for _, d := range []string{"pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_subtrans"} {
			x = append(x, Exclude{"/" + d + "/*", "emptied or rebuilt at every start"})
		}
		x = append(x, Exclude{"/current_logfiles.tmp", "names the source's log"})
	}
	if v.AtLeast(11) {
		x = append(x,
			Exclude{"pg_internal.init*", "cache of the catalogs, rebuilt"},
			Exclude{"/base/*/" + temporaryRelation, "temporary relations"},
			Exclude{"/pg_tblspc/*/PG_*/*/" + temporaryRelation, "temporary relations of in-place tablespaces"})
	}
	if v.AtLeast(13) {
		x = append(x, Exclude{"/backup_manifest", "belongs to another backup"})
	}
	return append(x, ours()...)
}

// temporaryRelation matches t<backend>_<filenode> with forks and segments.
const temporaryRelation = "t[0-9]*_[0-9]*"

func ours() []Exclude {
	return []Exclude{
		{"/recovery.conf", "recovery is set up for the copy itself"},
		{"/recovery.done", "recovery settings of the source's past"},
		{"/*.signal", "recovery is set up for the copy itself"},
		{"/promote", "would promote the copy"},
		{"/fallback_promote", "would promote the copy"},
		{"/log", "the source's server log"},
		{"/pg_log", "the source's server log"},
		{"/.s.PGSQL.*", "sockets of the source's server and their lock files"},
		{"/core", "dump of a crashed process"},
		{"/core.*", "dump of a crashed process"},
		{"/lost+found", "belongs to the file system"},
		{".DS_Store", "not of PostgreSQL"},
		{"/" + RunMarker, "marks a copy in progress"},
		{"/" + PendingControlFile, "marks a copy in progress"},
	}
}

// TablespaceExcludes is BackupExcludes for the transfer of one tablespace, whose
// root is <location>/PG_<major>_<catalog version>.
func (v Version) TablespaceExcludes() []Exclude {
	x := []Exclude{{"pgsql_tmp*", "temporary files, anywhere"}}
	if v.AtLeast(11) {
		x = append(x,
			Exclude{"pg_internal.init*", "cache of the catalogs, rebuilt"},
			Exclude{"/*/" + temporaryRelation, "temporary relations"})
	}
	return x
}

// ExcludePath is the exclude of one path that the server names (log_directory,
// external_pid_file, a trigger file, stats_temp_directory) if it lies inside the
// data directory; ok is false if it lies outside. A relative path is relative to
// the data directory, as for the server.
func ExcludePath(dataDir, p, reason string) (x Exclude, ok bool, err error) {
	if !path.IsAbs(p) {
		p = path.Join(dataDir, p)
	}
	rel, inside := strings.CutPrefix(path.Clean(p), strings.TrimSuffix(path.Clean(dataDir), "/")+"/")
	if !inside || rel == "" {
		return Exclude{}, false, nil
	}
	if strings.ContainsAny(rel, "\x00\r\n") {
		return Exclude{}, false, fmt.Errorf("exclude %q: %w", p, ErrControl)
	}
	// rsync takes a backslash for an escape only in patterns with wildcards.
	if strings.ContainsAny(rel, "*?[") {
		rel = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(rel)
	}
	return Exclude{"/" + rel, reason}, true, nil
}

// RequiredDirs are the directories that a data directory must have, parents
// first, with mode 0700 (or 0750 where the source has it, since 11). Without
// pg_notify, pg_replslot or pg_twophase a server does not start, without
// pg_subtrans or pg_commit_ts it stops at its first checkpoint, and the others
// are not made again either.
func (v Version) RequiredDirs() []string {
	dirs := []string{"base", "global"}
	if !v.AtLeast(10) {
		dirs = append(dirs, v.XactDir())
	}
	if v.AtLeast(9, 5) {
		dirs = append(dirs, "pg_commit_ts")
	}
	dirs = append(dirs,
		"pg_dynshmem",
		"pg_logical", "pg_logical/mappings", "pg_logical/snapshots",
		"pg_multixact", "pg_multixact/members", "pg_multixact/offsets",
		"pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp",
		"pg_subtrans", "pg_tblspc", "pg_twophase",
		v.WALDir(), v.WALDir()+"/archive_status")
	if v.AtLeast(17) {
		dirs = append(dirs, v.WALDir()+"/summaries")
	}
	if v.AtLeast(10) {
		dirs = append(dirs, v.XactDir())
	}
	return dirs
}

// Excluded reports whether rsync leaves a file out that has that path in the tree, for
// patterns as those above: with a leading slash of the whole path, or of a directory
// that the file is in; without one of any part of it. It is for sizes, not for what is
// copied.
func Excluded(patterns []string) func(name string) bool {
	anchored, any := [][]string{}, []string{}
	for _, p := range patterns {
		if rest, ok := strings.CutPrefix(p, "/"); ok {
			anchored = append(anchored, strings.Split(rest, "/"))
		} else {
			any = append(any, p)
		}
	}
	return func(name string) bool {
		parts := strings.Split(name, "/")
		for _, p := range anchored {
			if len(p) <= len(parts) && allMatch(p, parts) {
				return true
			}
		}
		for _, p := range any {
			if slices.ContainsFunc(parts, func(part string) bool { return allMatch([]string{p}, []string{part}) }) {
				return true
			}
		}
		return false
	}
}

func allMatch(patterns, parts []string) bool {
	for i, p := range patterns {
		if ok, err := path.Match(p, parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
