package postgres

import (
	"slices"
	"strings"
	"testing"
)

func patterns(x []Exclude) []string {
	var out []string
	for _, e := range x {
		out = append(out, e.Pattern)
	}
	return out
}

func TestExcludesGiveAReasonAndNoPatternTwice(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		seen := make(map[string]bool)
		for _, x := range append(v.BackupExcludes(), v.TablespaceExcludes()...) {
			if x.Reason == "" {
				t.Errorf("%s has no reason", x.Pattern)
			}
			if strings.HasPrefix(x.Pattern, "#") || strings.HasPrefix(x.Pattern, ";") || strings.HasSuffix(x.Pattern, "/") {
				t.Errorf("%s would not mean a file or directory of that name", x.Pattern)
			}
		}
		for _, x := range v.BackupExcludes() {
			if seen[x.Pattern] {
				t.Errorf("%s comes twice", x.Pattern)
			}
			seen[x.Pattern] = true
		}
	})
}

func TestExcludesKeepDirectoriesThatAStartNeeds(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		all := patterns(v.BackupExcludes())
		for _, d := range v.RequiredDirs() {
			if slices.Contains(all, "/"+d) != (d == v.WALDir() || d == "pg_stat_tmp") {
				t.Errorf("/%s: only the directories that may be symlinks are left out themselves", d)
			}
		}
		if slices.Contains(all, "/"+v.WALDir()+"/*") {
			t.Error("a symlinked WAL directory would replace the copy's")
		}
	})
}

func TestExcludesNeverCopyTheControlFileWithTheRest(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		for _, p := range []string{"/global/pg_control", "/global/pg_control.pgrepctl.tmp", "/pgrepctl.run", "/recovery.conf", "/*.signal", "/promote"} {
			if !slices.Contains(patterns(v.BackupExcludes()), p) {
				t.Errorf("%s is copied", p)
			}
		}
	})
}

func TestExclusiveBackupCopiesItsLabel(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		all := patterns(v.BackupExcludes())
		if slices.Contains(all, "/backup_label") == v.ExclusiveBackup() || slices.Contains(all, "/tablespace_map") == v.ExclusiveBackup() {
			t.Error("the label on disk is this backup's in exclusive mode only")
		}
	})
}

func TestExcludePathIsAnchoredAndEscaped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dir, path, want string
		ok              bool
	}{
		{"/data/15/main", "log", "/log", true},
		{"/data/15/main/", "/data/15/main/x/../serverlog", "/serverlog", true},
		{"/data/15/main", "a*[b]?", `/a\*\[b]\?`, true},
		{"/data/15/main", `a\*`, `/a\\\*`, true},
		{"/data/15/main", `a\b`, `/a\b`, true},
		{"/data/15/main", "/var/log/postgresql", "", false},
		{"/data/15/main", "/data/15/main2/log", "", false},
		{"/data/15/main", "../other", "", false},
		{"/data/15/main", "/data/15/main", "", false},
		{"/data/15/main", ".", "", false},
	} {
		x, ok, err := ExcludePath(c.dir, c.path, "r")
		if err != nil || ok != c.ok || x.Pattern != c.want {
			t.Errorf("%s in %s: %q, %t, %v; want %q, %t", c.path, c.dir, x.Pattern, ok, err, c.want, c.ok)
		}
	}
	if x, _, err := ExcludePath("/data", "a\nb", "r"); err == nil {
		t.Errorf("a newline gives %q", x.Pattern)
	}
}

// The sizes of what is not copied would have the streams of a copy share it: a full
// pg_wal, and one of two streams had next to nothing to do.
func TestWhatIsExcludedHasNoSize(t *testing.T) {
	var patterns []string
	for _, x := range Version(150000).BackupExcludes() {
		patterns = append(patterns, x.Pattern)
	}
	excluded := Excluded(append(patterns, "/log", `/odd\*name`))
	for name, want := range map[string]bool{
		"pg_wal/000000010000000000000001": true, "pg_wal/archive_status/x.done": true, "pg_wal2/x": false, "base/5/pg_wal": false,
		"base/5/1259": false, "base/5/t3_16384": true, "base/5/16384.1": false, "base/pgsql_tmp/pgsql_tmp12.0": true, "global/pg_control": true, "global/pg_filenode.map": false,
		"base/5/pg_internal.init.77": true, "pg_notify/0000": true, "log/a.log": true, "log": true, "logs": false, "odd*name": true, "oddxname": false, "PG_VERSION": false,
	} {
		if got := excluded(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
