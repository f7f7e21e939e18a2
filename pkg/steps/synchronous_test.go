package steps_test

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// foretold is a preview's world.
type foretold struct{ cast }

func (w foretold) Known(name string) *facts.Host { return w.cast[name] }

func TestAPreviewSetsTheSynchronousStandbysOnceForAllStandbysOfAPlan(t *testing.T) {
	t.Parallel()
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(`
cluster: shop
postgres: {version: 15, data_directory: /var/lib/postgresql/15/main, config_directory: /etc/postgresql/15/main}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby, synchronous: true}
  pg3: {address: 10.0.0.13, role: standby}
`))
	if err != nil {
		t.Fatal(err)
	}
	for name, before := range map[string]string{"never set": "", "set to something else": "synchronous_standby_names = 'ANY 1 (pg3)'\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg1 := facts.New("pg1", nil)
			pg1.Server = facts.Server{Running: true, Version: 150000, DataDirectory: "/data", ConfigFile: "/etc/postgresql.conf",
				Senders: []facts.Sender{{Application: "pg2", State: "streaming"}}}
			now := postgres.Setting{Name: "synchronous_standby_names", Source: "default"}
			if before != "" {
				now.Value, now.Source = "ANY 1 (pg3)", "configuration file"
			}
			pg1.SetSettings(postgres.Settings{now.Name: now})
			pg1.SetFile("postgres", host.File{Path: "/etc/postgresql.conf", Exists: true})
			pg1.SetFile("postgres", host.File{Path: "/data/postgresql.auto.conf", Exists: true, Data: []byte(before)})
			in := steps.In{Cluster: inv, Self: inv.Primary(), Facts: cast{"pg1": pg1}, Run: &running{}}
			var acts []effect.Effect
			for _, s := range inv.Standbys() {
				in.Standby = s
				p, err := (&steps.Synchronous{}).Plan(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range p.Effects {
					e.Predict(foretold{cast{"pg1": pg1}})
				}
				acts = append(acts, p.Effects...)
			}
			if len(acts) != 2 {
				t.Errorf("%d acts, want to set them and to reload, once", len(acts))
			}
		})
	}
}
