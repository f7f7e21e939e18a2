package postgres

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//nolint:gochecknoglobals // a test flag
var update = flag.Bool("update", false, "write the golden files")

func majors() []string {
	return []string{"9.4", "9.5", "9.6", "10", "11", "12", "13", "14", "15", "16", "17", "18"}
}

func eachMajor(t *testing.T, f func(t *testing.T, v Version)) {
	t.Helper()
	for _, m := range majors() {
		v, err := ParseVersion(m)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(m, func(t *testing.T) {
			t.Parallel()
			f(t, v)
		})
	}
}

// dialect prints every answer of one version. A line of SQL begins with its
// method's name.
func dialect(v Version) string {
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "%s: %v\n", name, value) }
	call := func(name string, f func() (string, error)) {
		s, err := f()
		if err != nil {
			s = "error: " + err.Error()
		}
		line(name, s)
	}
	for _, x := range []struct{ name, value string }{
		{"CurrentWAL", v.CurrentWAL()}, {"CurrentWALInsert", v.CurrentWALInsert()},
		{"LastReceive", v.LastReceive()}, {"LastReplay", v.LastReplay()},
		{"IsReplayPaused", v.IsReplayPaused()}, {"ReplayPauseState", v.ReplayPauseState()},
		{"PauseReplay", v.PauseReplay()}, {"ResumeReplay", v.ResumeReplay()}, {"WakesReplay", v.WakesReplay()},
		{"WALDir", v.WALDir()}, {"XactDir", v.XactDir()},
		{"StartBackup", v.StartBackup()}, {"StopBackup", v.StopBackup()},
		{"WALSenders", v.WALSenders()}, {"Slots", v.Slots()}, {"WALReceiver", v.WALReceiver()},
		{"SenderProgress", v.SenderProgress()}, {"SettingsQuery", v.SettingsQuery()},
		{"KeepWALSetting", v.KeepWALSetting()}, {"SlotLimitSetting", v.SlotLimitSetting()},
		{"RecoveryFile", v.RecoveryFile()}, {"StandbyWALLevel", v.StandbyWALLevel()},
		{"PasswordHash", string(v.PasswordHash())},
		{"Identity", v.Identity()}, {"Timeline", v.Timeline()}, {"FlushWAL", v.FlushWAL()}, {"AmcheckProgram", v.AmcheckProgram()},
		{"ReplayProgress", v.ReplayProgress()}, {"RecoveryTargetQuery", v.RecoveryTargetQuery()}, {"WALDump", v.WALDump()}, {"ReplayLocks", v.ReplayLocks()},
		{"ChecksumProgram", strings.Join(v.ChecksumProgram(), " ")}, {"TextSettings", strings.Join(v.TextSettings(), "; ")},
	} {
		line(x.name, x.value)
	}
	call("KeepWAL(100 MB)", func() (string, error) { return v.KeepWAL(100<<20, 16<<20) })
	call("CreateSlot(s)", func() (string, error) { return v.CreateSlot("s", false, false) })
	call("CreateSlot(s, reserve)", func() (string, error) { return v.CreateSlot("s", true, false) })
	call("CopySlot(s, t)", func() (string, error) { return v.CopySlot("s", "t") })
	call("CreateSlot(s, reserve, temporary)", func() (string, error) { return v.CreateSlot("s", true, true) })
	call("BindingParams", func() (string, error) { return Conninfo(v.BindingParams()) })
	call("DropSlot(s)", func() (string, error) { return v.DropSlot("s") })
	call("RowHash(s, t)", func() (string, error) { return v.RowHash("s", "t") })
	call("FileSettingsQuery", v.FileSettingsQuery)
	call("HBARulesQuery", v.HBARulesQuery)
	if q, ok := v.ConfigErrorsQuery(); ok {
		line("ConfigErrorsQuery", q)
	}
	if v.ExclusiveBackup() {
		line("ExclusiveBackupFiles", ExclusiveBackupFiles())
		call("OwnsExclusiveBackup(l)", func() (string, error) { return OwnsExclusiveBackup("l") })
		call("EndExclusiveBackup(l)", func() (string, error) { return EndExclusiveBackup("l") })
	}
	line("TimeoutSettings", strings.Join(v.TimeoutSettings(), ", "))
	line("RecoveryTargets", strings.Join(v.RecoveryTargets(), ", "))
	line("StandbyParameters", strings.Join(v.StandbyParameters(), ", "))
	for _, x := range []struct {
		name  string
		value bool
	}{
		{"ExclusiveBackup", v.ExclusiveBackup()}, {"StandbyBackup", v.StandbyBackup()}, {"WritesTablespaceMap", v.WritesTablespaceMap()},
		{"StopBackupWaitsForArchive", v.StopBackupWaitsForArchive()},
		{"ChecksClientConnection", v.ChecksClientConnection()}, {"SlotReservesWAL", v.SlotReservesWAL()},
		{"TemporarySlots", v.TemporarySlots()},
		{"UsesSignalFiles", v.UsesSignalFiles()}, {"PassfileInConninfo", v.PassfileInConninfo()},
		{"StatusInPIDFile", v.StatusInPIDFile()}, {"SyncsFileSystems", v.SyncsFileSystems()},
		{"PrimaryConninfoReloads", v.PrimaryConninfoReloads()},
		{"ChannelBinding", v.ChannelBinding()}, {"RequireAuth", v.RequireAuth()},
		{"PromoteFunction", v.PromoteFunction()},
		{"FileSettings", v.FileSettings()}, {"HBAFileRules", v.HBAFileRules()},
		{"HBAIncludes", v.HBAIncludes()}, {"ControlFunctions", v.ControlFunctions()},
		{"HotStandbyByDefault", v.HotStandbyByDefault()},
	} {
		line(x.name, x.value)
	}
	line("RequiredDirs", strings.Join(v.RequiredDirs(), " "))
	for _, x := range v.BackupExcludes() {
		line("BackupExcludes", x.Pattern)
	}
	for _, x := range v.TablespaceExcludes() {
		line("TablespaceExcludes", x.Pattern)
	}
	return b.String()
}

func TestDialectOfEachVersion(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		file := filepath.Join("testdata", "dialect", v.Major()+".txt")
		got := dialect(v)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	})
}

// lines reads a list that was read off a server of this version.
func lines(t *testing.T, file string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestDialectNamesFunctionsThatServersHave(t *testing.T) {
	t.Parallel()
	called := regexp.MustCompile(`\b(pg_[a-z_]*(?:wal|xlog|backup|slot)[a-z_]*)\(`)
	eachMajor(t, func(t *testing.T, v Version) {
		have := lines(t, "catalog/"+v.Major()+".functions")
		found := called.FindAllStringSubmatch(dialect(v), -1)
		if len(found) < 10 {
			t.Fatalf("only %d calls found", len(found))
		}
		for _, m := range found {
			if !slices.Contains(have, m[1]) {
				t.Errorf("%s is no function of %s", m[1], v.Major())
			}
		}
		if v.PromoteFunction() != slices.Contains(have, "pg_promote") ||
			v.ControlFunctions() != slices.Contains(have, "pg_control_system") {
			t.Error("what the version says of itself is not what its catalog has")
		}
	})
}

func TestDialectSelectsColumnsThatViewsHave(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`'[^']*'|::?[a-z0-9]+|\bas [a-z_]+|[a-z_][a-z_0-9]*`)
	skip := []string{"select", "from", "order", "by", "null", "false", "where", "extract", "epoch", "host"}
	eachMajor(t, func(t *testing.T, v Version) {
		columns := make(map[string][]string)
		for _, l := range lines(t, "catalog/"+v.Major()+".columns") {
			view, list, _ := strings.Cut(l, ": ")
			columns[strings.TrimSuffix(view, ":")] = strings.Split(list, ",")
		}
		file, _ := v.FileSettingsQuery()
		hba, _ := v.HBARulesQuery()
		for view, query := range map[string]string{
			"pg_stat_replication": v.WALSenders(), "pg_replication_slots": v.Slots(),
			"pg_stat_wal_receiver": v.WALReceiver(), "pg_file_settings": file, "pg_hba_file_rules": hba,
		} {
			for _, w := range word.FindAllString(query, -1) {
				if strings.HasPrefix(w, "as ") || strings.HasPrefix(w, ":") || w == view || slices.Contains(skip, w) {
					continue
				}
				if !slices.Contains(columns[view], w) {
					t.Errorf("%s has no column %s", view, w)
				}
			}
		}
	})
}

func TestDialectNamesSettingsThatServersHave(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		have := lines(t, "catalog/"+v.Major()+".settings")
		want := slices.Concat(v.TimeoutSettings(), v.StandbyParameters(), []string{v.KeepWALSetting()})
		if s := v.SlotLimitSetting(); s != "" {
			want = append(want, s)
		}
		for _, s := range want {
			if !slices.Contains(have, s) {
				t.Errorf("%s is no setting of %s", s, v.Major())
			}
		}
	})
}

func TestRequiredDirsAreThoseOfAFreshDataDirectory(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		want := lines(t, "catalog/"+v.Major()+".directories")
		var got []string
		for _, d := range v.RequiredDirs() {
			if !strings.Contains(d, "/") {
				got = append(got, d)
			} else if parent := filepath.Dir(d); !slices.Contains(got, parent) {
				t.Errorf("%s comes before its parent", d)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-fresh data directory +RequiredDirs):\n%s", d)
		}
	})
}

func TestSlotOfAnotherVersionIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		f     func() (string, error)
		since Version
	}{
		{"reserve on 9.5", func() (string, error) { return Version(90500).CreateSlot("s", true, false) }, 90600},
		{"temporary on 9.6", func() (string, error) { return Version(90600).CreateSlot("s", true, true) }, 100000},
		{"file settings on 9.4", Version(90400).FileSettingsQuery, 90500},
		{"hba rules on 9.6", Version(90600).HBARulesQuery, 100000},
	} {
		_, err := c.f()
		var u *UnsupportedError
		if !errors.As(err, &u) || u.Since != c.since {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSlotNamesAreCheckedInSQL(t *testing.T) {
	t.Parallel()
	v := Version(150000)
	for _, name := range []string{"", "A", "a'b", strings.Repeat("a", 64)} {
		if q, err := v.CreateSlot(name, true, false); err == nil {
			t.Errorf("created: %s", q)
		}
		if q, err := v.DropSlot(name); err == nil {
			t.Errorf("dropped: %s", q)
		}
	}
}

func TestKeepWALNeverKeepsLess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v              Version
		bytes, segment int64
		want           string
	}{
		{130000, 1 << 30, 16 << 20, "1024MB"},
		{130000, 1<<20 + 1, 16 << 20, "2MB"},
		{120000, 1 << 30, 16 << 20, "64"},
		{120000, 16<<20 + 1, 16 << 20, "2"},
		{120000, 0, 16 << 20, "0"},
	} {
		if got, err := c.v.KeepWAL(c.bytes, c.segment); err != nil || got != c.want {
			t.Errorf("%s, %d bytes: %s, %v; want %s", c.v, c.bytes, got, err, c.want)
		}
	}
	if _, err := Version(130000).KeepWAL(-1, 16<<20); err == nil {
		t.Error("a negative size was taken")
	}
}

func TestWALLevelsThatServeAStandby(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v     Version
		level string
		want  bool
	}{
		{150000, "replica", true},
		{150000, "logical", true},
		{150000, "minimal", false},
		{90600, "archive", true},
		{90500, "archive", false},
		{90500, "hot_standby", true},
	} {
		if c.v.WALLevelServesStandby(c.level) != c.want {
			t.Errorf("%s on %s: want %t", c.level, c.v, c.want)
		}
	}
	eachMajor(t, func(t *testing.T, v Version) {
		if !v.WALLevelServesStandby(v.StandbyWALLevel()) {
			t.Error("the level it asks for does not serve")
		}
	})
}
