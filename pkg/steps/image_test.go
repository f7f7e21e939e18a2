package steps_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// Two standbys on one machine keep the bytes from before in one home: under one name, an undo
// would give one of them the file of the other.
func TestTwoServersOnOneMachineKeepTheirFilesApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version postgres.Version
		file    string
	}{{150004, "postgresql.auto.conf"}, {110022, "recovery.conf"}} {
		inv, err := inventory.Parse("pgrepctl.yaml", []byte(fmt.Sprintf(`
cluster: shop
postgres: {version: %[1]s, config_directory: /etc/postgresql}
replication: {password: {file: /secrets/repl}}
hosts:
  pg1: {address: 10.0.0.11, role: primary, postgres: {data_directory: /srv/pg1}}
  pg2: {address: 10.0.0.12, role: standby, apply_delay: 2h, postgres: {data_directory: /srv/pg2, config_directory: /etc/pg2}}
  pg3: {address: 10.0.0.12, role: standby, apply_delay: 2h, postgres: {data_directory: /srv/pg3, config_directory: /etc/pg3, port: 5433}}
`, c.version.Major())))
		if err != nil {
			t.Fatal(err)
		}
		all := cast{}
		for _, h := range inv.Hosts {
			f := facts.New(h.Name, nil)
			data := h.Postgres.DataDirectory
			f.Machine = facts.Machine{OSUser: "postgres", OSUserHome: "/var/lib/postgresql"}
			f.Server = facts.Server{Running: h.Name == "pg1", Version: c.version, SystemID: "7", DataDirectory: data}
			f.Data = facts.DataDir{Path: data, State: facts.Cluster, Standby: h.Name != "pg1", Control: postgres.Control{SystemID: 7}}
			f.SetSettings(postgres.Settings{})
			for p, text := range map[string]string{"standby.signal": "", c.file: "recovery_min_apply_delay = '4h' # of the password\n"} {
				f.SetFile("postgres", host.File{Path: data + "/" + p, Exists: true, Data: []byte(text), Mode: 0o600})
			}
			for _, p := range []string{"postgresql.auto.conf", "recovery.conf"} {
				if p != c.file {
					f.SetFile("postgres", host.File{Path: data + "/" + p})
				}
			}
			f.SetFile("postgres", host.File{Path: h.Postgres.ConfigDirectory + "/postgresql.conf", Exists: true})
			all[h.Name] = f
		}
		for kind, step := range map[string]steps.Step{
			"standby-config":  &steps.StandbyConfig{Slot: "x"},
			"apply-delay":     &steps.ApplyDelay{},
			"recovery-target": &steps.RecoveryTarget{Until: "time 2026-11-26 07:10:00+00", Timeout: time.Minute},
		} {
			kept := map[string]string{} // by host
			for _, h := range inv.Standbys() {
				p, err := step.Plan(t.Context(), steps.In{Cluster: inv, Self: h, Standby: h, Facts: all, Run: &running{}})
				if err != nil {
					t.Fatalf("%s on %s of %s: %v", kind, h.Name, c.version.Major(), err)
				}
				for _, e := range p.Effects {
					if w, ok := e.(*effect.WriteFile); ok && strings.HasSuffix(w.Path, "/"+c.file) {
						kept[h.Name] = w.Inverse().(*effect.RestoreFile).Image
					}
				}
			}
			switch names := slices.Compact(slices.Sorted(maps.Values(kept))); {
			case kind == "apply-delay" && c.file == "recovery.conf": // see StandbyConfig
			case len(kept) != 2 || len(names) != 2:
				t.Errorf("%s, %s: %v", kind, c.file, kept)
			}
		}
	}
}

// The bytes before the first of several edits of a secret file are those to go back to: that
// is told by what is kept under one name, whichever steps edit it.
func TestAllStepsKeepOneFileUnderOneName(t *testing.T) {
	t.Parallel()
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(`
cluster: shop
postgres: {version: 15, data_directory: /srv/pg, config_directory: /etc/pg}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby, apply_delay: 2h}
`))
	if err != nil {
		t.Fatal(err)
	}
	all := cast{}
	for _, h := range inv.Hosts {
		f := facts.New(h.Name, nil)
		f.Machine.OSUserHome = "/var/lib/postgresql"
		f.Server = facts.Server{Running: true, InRecovery: h.Name == "pg2", Version: 150004, SystemID: "7", DataDirectory: "/srv/pg", ConfigFile: "/etc/pg/postgresql.conf"}
		f.SetSettings(postgres.Settings{"work_mem": {Name: "work_mem", Vartype: "integer", Unit: "kB", Context: "user"}})
		f.SetFile("postgres", host.File{Path: "/etc/pg/postgresql.conf", Exists: true})
		f.SetFile("postgres", host.File{Path: "/srv/pg/postgresql.auto.conf", Exists: true, Data: []byte("work_mem = '8MB'\nprimary_conninfo = 'host=10.0.0.99 password=x'\n")})
		f.Server.Replay.ConfiguredSlot = h.Slot
		all[h.Name] = f
	}
	pg2, _ := inv.Host("pg2")
	names, edits := map[string]bool{}, 0
	for _, step := range []steps.Step{&steps.ApplyDelay{}, &steps.Repoint{To: "pg1"}, &steps.Conf{Set: map[string]steps.Wanted{"work_mem": {Value: "16MB"}}, When: "running"}} {
		p, err := step.Plan(t.Context(), steps.In{Cluster: inv, Self: pg2, Standby: pg2, Facts: all, Run: &running{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Effects {
			if w, ok := e.(*effect.WriteFile); ok && w.Path == "/srv/pg/postgresql.auto.conf" {
				names[w.Image] = true
				edits++
			}
		}
	}
	if len(names) != 1 || edits != 3 {
		t.Errorf("%d edits: %v", edits, names)
	}
}
