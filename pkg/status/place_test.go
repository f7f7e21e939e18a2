package status

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

func TestAStandbyStreamsFromAnotherAddressOnlyWhereThatIsCertain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		upstream, from string
		other          bool
	}{
		{"10.0.0.1", "10.0.0.1", false},
		{"10.0.0.1", "10.0.0.2", true},
		{"10.0.0.1", "::ffff:10.0.0.1", false},
		{"2001:db8::1", "2001:DB8:0::1", false},
		{"pg1.example.org", "10.0.0.2", false},
		{"10.0.0.1", "pg1.example.org", false},
	} {
		up := &inventory.Host{Name: "pg1", Address: c.upstream, Role: inventory.Primary}
		h := &inventory.Host{Name: "pg2", Address: "10.0.0.9", Role: inventory.Standby, UpstreamName: "pg1"}
		if got := otherAddress(&inventory.Cluster{Hosts: []*inventory.Host{up, h}}, h, c.from); got != c.other {
			t.Errorf("%s and %s: %v", c.upstream, c.from, got)
		}
	}
}
