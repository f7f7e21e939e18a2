package postgres

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingReadsARowOfPgSettings(t *testing.T) {
	t.Parallel()
	row := `[{"name":"wal_keep_size","setting":"64","unit":"MB","context":"sighup","vartype":"integer","source":"configuration file",
	"sourcefile":"/etc/x.conf","sourceline":12,"pending_restart":true,"boot_val":"0","reset_val":"64"},
	{"name":"port","setting":"5432","unit":null,"context":"postmaster","sourcefile":null,"sourceline":null}]`
	var rows []Setting
	if err := json.Unmarshal([]byte(row), &rows); err != nil {
		t.Fatal(err)
	}
	s := NewSettings(rows)
	want := Setting{
		Name: "wal_keep_size", Value: "64", Unit: "MB", Context: "sighup", Vartype: "integer",
		Source: "configuration file", SourceFile: "/etc/x.conf", SourceLine: 12, PendingRestart: true,
		BootValue: "0", ResetValue: "64",
	}
	if d := cmp.Diff(want, s["wal_keep_size"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"wal_keep_size"}, s.PendingRestart()); d != "" {
		t.Error(d)
	}
	if s["wal_keep_size"].NeedsRestart() || !s["port"].NeedsRestart() {
		t.Error("restart is decided by the context")
	}
}

func TestSettingNamesIgnoreCase(t *testing.T) {
	t.Parallel()
	s := Settings{"DateStyle": {Name: "DateStyle", Value: "ISO, MDY"}}
	if v, ok := s.Lookup("datestyle"); !ok || v.Name != "DateStyle" {
		t.Errorf("%+v, %t", v, ok)
	}
	if _, ok := s.Lookup("timezone"); ok {
		t.Error("found a setting that is not there")
	}
}

func TestSettingEqualsWhatTheServerWouldTakeForIt(t *testing.T) {
	t.Parallel()
	buffers := Setting{Name: "shared_buffers", Value: "16384", Unit: "8kB", Vartype: "integer"}
	timeout := Setting{Name: "wal_sender_timeout", Value: "60000", Unit: "ms", Vartype: "integer"}
	for _, c := range []struct {
		s    Setting
		want string
		same bool
	}{
		{buffers, "128MB", true},
		{buffers, "16384", true},
		{buffers, "0x4000", true},
		{buffers, " 131072 kB ", true},
		{buffers, "0.125GB", true},
		{buffers, "128.1MB", false},
		{buffers, "129MB", false},
		{Setting{Value: "2", Unit: "8kB", Vartype: "integer"}, "12kB", true},
		{Setting{Value: "2", Unit: "8kB", Vartype: "integer"}, "20kB", true},
		{Setting{Value: "1126", Unit: "MB", Vartype: "integer"}, "1.1GB", true},
		{Setting{Value: "1153024", Unit: "kB", Vartype: "integer"}, "1.1GB", true},
		{Setting{Value: "64", Unit: "16MB", Vartype: "integer"}, "1GB", true},
		{Setting{Value: "-1", Unit: "MB", Vartype: "integer"}, "-1", true},
		{Setting{Value: "1048576", Unit: "B", Vartype: "integer"}, "1MB", true},
		{timeout, "1min", true},
		{timeout, "60s", true},
		{timeout, "60", false},
		{timeout, "1h", false},
		{Setting{Value: "0.9", Vartype: "real"}, ".9", true},
		{Setting{Value: "0.9", Vartype: "real"}, "9e-1", true},
		{Setting{Value: "2", Unit: "ms", Vartype: "real"}, "2000us", true},
		{Setting{Value: "on", Vartype: "bool"}, "yes", true},
		{Setting{Value: "on", Vartype: "bool"}, "TRU", true},
		{Setting{Value: "on", Vartype: "bool"}, "1", true},
		{Setting{Value: "on", Vartype: "bool"}, "of", false},
		{Setting{Value: "replica", Name: "wal_level", Vartype: "enum"}, "Replica", true},
		{Setting{Value: "replica", Name: "wal_level", Vartype: "enum"}, "hot_standby", true},
		{Setting{Value: "minimal", Name: "wal_level", Vartype: "enum"}, "archive", false},
		{Setting{Value: "hot_standby", Name: "wal_level", Vartype: "enum"}, "replica", false},
		{Setting{Value: "on", Name: "synchronous_commit", Vartype: "enum"}, "true", true},
		{Setting{Value: "local", Name: "synchronous_commit", Vartype: "enum"}, "on", false},
		{Setting{Value: "a, b", Vartype: "string"}, "a, b", true},
		{Setting{Value: "a, b", Vartype: "string"}, "a,b", false},
	} {
		if same, err := c.s.Equal(c.want); err != nil || same != c.same {
			t.Errorf("%s%s equals %q: %t, %v; want %t", c.s.Value, c.s.Unit, c.want, same, err, c.same)
		}
	}
	for _, c := range []struct {
		s    Setting
		want string
	}{
		{buffers, "x"}, {buffers, "128mb"}, {buffers, "1min"}, {buffers, ""}, {buffers, "1 2"},
		{Setting{Value: "10", Vartype: "integer"}, "10MB"}, {Setting{Value: "on", Vartype: "bool"}, "o"},
	} {
		if same, err := c.s.Equal(c.want); err == nil {
			t.Errorf("%q compares as %t", c.want, same)
		}
	}
}

func TestSettingInBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value, unit string
		want        int64
	}{
		{"16384", "8kB", 128 << 20}, {"64", "16MB", 1 << 30}, {"7", "MB", 7 << 20}, {"-1", "MB", -1},
		{"3", "B", 3}, {"2", "32kB", 64 << 10},
	} {
		if got, err := (Setting{Value: c.value, Unit: c.unit}).Bytes(); err != nil || got != c.want {
			t.Errorf("%s of %s: %d, %v; want %d", c.value, c.unit, got, err, c.want)
		}
	}
	for _, s := range []Setting{{Value: "1", Unit: "ms"}, {Value: "1"}, {Value: "x", Unit: "MB"}, {Value: "9223372036854775", Unit: "MB"}} {
		if got, err := s.Bytes(); err == nil {
			t.Errorf("%s of %q: %d", s.Value, s.Unit, got)
		}
	}
}
