package steps_test

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// The walreceiver trusts whom the standby's system trusts, so the proof of its login does.
func TestALoginTrustsTheCertificatesOfTheStandbysSystem(t *testing.T) {
	t.Parallel()
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(`
cluster: shop
postgres: {version: 16, data_directory: /srv/pg}
replication: {sslmode: verify-full, sslrootcert: system}
hosts:
  pg1: {address: pg1.example.org, role: primary}
  pg2: {address: pg2.example.org, role: standby}
`))
	if err != nil {
		t.Fatal(err)
	}
	const debian, redhat, suse = "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"
	for _, has := range []string{debian, redhat, suse, ""} {
		pg1, pg2 := facts.New("pg1", nil), facts.New("pg2", nil)
		pg1.Server = facts.Server{Running: true, Version: 160000, SystemID: "7"}
		pg1.SetFile("postgres", host.File{Path: debian, Exists: true, Data: []byte("of the primary")})
		pg2.Data.State = facts.Empty
		pg2.SetFile("postgres", host.File{Path: has, Exists: true, Data: []byte("of " + has)})
		h := inv.Standbys()[0]
		p, err := (&steps.Login{}).Plan(t.Context(), steps.In{Cluster: inv, Self: h, Standby: h, Facts: cast{"pg1": pg1, "pg2": pg2}, Run: &running{}})
		if has == "" {
			if fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "none of "+debian) {
				t.Errorf("without any: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", has, err)
			continue
		}
		if got := string(p.Effects[0].(*effect.ProveLogin).Login.SSLRootCert); got != "of "+has {
			t.Errorf("%s: %q", has, got)
		}
	}
}
