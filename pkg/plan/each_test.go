package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

func TestDelayedStandbysComeLastAmongThoseThatStreamFromOne(t *testing.T) {
	t.Parallel()
	inv, err := inventory.Parse("shop.yaml", []byte(`cluster: shop
postgres: {version: 15, data_directory: /data, config_directory: /data}
replication: {user: replicator}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby, apply_delay: 4h}
  pg3: {address: 10.0.0.13, role: standby}
  pg4: {address: 10.0.0.14, role: standby}
  pg5: {address: 10.0.0.15, role: standby, upstream: pg3, apply_delay: 1h}
  pg6: {address: 10.0.0.16, role: standby, upstream: pg3}
`))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string][]string{"siblings": {"pg4", "pg2"}, "downstreams": {"pg6", "pg5"}} {
		p, err := plan.Load("x.yaml", []byte("name: x\nvars: {standby: {default: pg3}}\nsteps:\n- {each: "+word+", verify: {}}\n"), inv, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range p.Nodes {
			got = append(got, n.Host.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", word, diff)
		}
	}
}
