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
			if slices.Contains(all, "/"+d) != (d == v.WALDir()) {
				t.Errorf("/%s: only the WAL directory is left out itself", d)
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
