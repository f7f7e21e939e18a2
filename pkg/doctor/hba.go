package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
)

// readRules finds the hosts of the inventory that a running standby would turn away
// on the day that it is their upstream.
func (p *pair) readRules(ctx context.Context) error {
	s := p.standby
	if !s.f.Server.Running || s.f.Server.HBAFile == "" || p.target() {
		return nil
	}
	typ := "host"
	if slices.Contains([]string{"require", "verify-ca", "verify-full"}, s.cl.Replication.SSLMode) {
		typ = "hostssl"
		if !s.f.Server.SSL {
			return nil // standby.tls-off tells of it
		}
	}
	file, err := s.f.File(ctx, s.inv.Postgres.OSUser, s.f.Server.HBAFile)
	if err != nil || !file.Exists {
		return err
	}
	user, err := hba.Name(s.cl.Replication.User)
	if err != nil {
		return nil // no rule can name it
	}
	for _, h := range s.cl.Hosts {
		if h == s.inv {
			continue
		}
		rules := hba.Parse(file.Data) // Ensure adds to it
		_, missing, err := rules.Ensure(hba.Rule{Type: typ, Databases: []hba.Token{{Value: "replication"}}, Users: []hba.Token{user},
			Address: h.CIDR(), Method: string(s.f.Server.Version.PasswordHash())}, "")
		if err == nil && missing {
			p.turnedAway = append(p.turnedAway, h.Name)
		}
	}
	return nil
}

func standbyTurnsAway(p pair) []found {
	if len(p.turnedAway) == 0 {
		return nil
	}
	return one("to add the rules: pgrepctl standby bootstrap "+p.standby.inv.Name, "its pg_hba.conf admits no replication from %s", strings.Join(p.turnedAway, ", "))
}
