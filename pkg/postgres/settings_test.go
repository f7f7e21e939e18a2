package postgres

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSettingReadsARowOfPgSettings(t *testing.T) {
	t.Parallel()
	row := `[{"name":"wal_keep_size","setting":"64","unit":"MB","context":"sighup","vartype":"integer","source":"configuration file",
	"sourcefile":"/etc/x.conf","pending_restart":true,"boot_val":"0"},
	{"name":"port","setting":"5432","unit":null,"context":"postmaster","sourcefile":null}]`
	var rows []Setting
	if err := json.Unmarshal([]byte(row), &rows); err != nil {
		t.Fatal(err)
	}
	s := NewSettings(rows)
	want := Setting{
		Name: "wal_keep_size", Value: "64", Unit: "MB", Context: "sighup", Vartype: "integer",
		Source: "configuration file", SourceFile: "/etc/x.conf", PendingRestart: true,
		BootValue: "0",
	}
	if d := cmp.Diff(want, s["wal_keep_size"]); d != "" {
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
