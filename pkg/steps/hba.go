package steps

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
)

// HBA adds rules to pg_hba.conf, or takes one out that was added.
type HBA struct {
	Allow    HBARule `yaml:"allow"`
	Withdraw HBARule `yaml:"withdraw"`
}

var _ Step = (*HBA)(nil)

// Validate is called when a plan file is read.
func (s *HBA) Validate() error {
	switch {
	case (s.Allow == HBARule{}) == (s.Withdraw == HBARule{}):
		return errors.New("give one of allow and withdraw")
	case s.Allow.Hosts != "" && s.Allow.Hosts != "others":
		return fmt.Errorf("hosts %q: only others is supported", s.Allow.Hosts)
	case s.Allow.Hosts != "" && s.Allow.Address != "":
		return errors.New("give one of address and hosts")
	case s.Withdraw.Hosts != "":
		return errors.New("hosts belongs to allow: one rule is withdrawn at a time")
	}
	return nil
}

// Plan puts the rule where it takes effect: before the first rule that would
// match the same connection with another outcome, for the first match wins.
func (s *HBA) Plan(ctx context.Context, in In) (Planned, error) {
	if s.Allow == (HBARule{}) {
		return s.withdraw(ctx, in)
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	if s.Allow.Hosts != "" {
		return s.others(ctx, in, h)
	}
	if !h.Server.Running {
		return Planned{}, fault.Refuse(in.Self.Name, "start it, then type the same command again",
			errors.New("the server does not run, so its pg_hba.conf is not known"))
	}
	if s.Allow.Type == "hostssl" && !h.Server.SSL {
		return Planned{}, fault.Refuse(in.Self.Name, "turn ssl on on "+in.Self.Name+", or set replication.sslmode: prefer in the inventory",
			errors.New("a hostssl rule never matches while ssl is off"))
	}
	f, err := h.File(ctx, in.Self.Postgres.OSUser, h.Server.HBAFile)
	if err != nil {
		return Planned{}, err
	}
	file, err := parseHBA(in, f)
	if err != nil {
		return Planned{}, err
	}
	rule, err := s.rule(s.Allow.Address, h.Server.Version)
	if err != nil {
		return Planned{}, err
	}
	shadow, shadowed := file.Shadow(rule)
	at, changed, err := file.Ensure(rule, "")
	if err != nil {
		return Planned{}, fmt.Errorf("pg_hba.conf rule: %w", err)
	}
	if !changed {
		return noop("line %d of %s admits %s from %s", at, f.Path, s.Allow.User, s.Allow.Address), nil
	}
	why := fmt.Sprintf("(+1 rule at line %d)", at)
	if shadowed {
		why = fmt.Sprintf("(+1 rule at line %d, before line %d, which would match first: %s)", at, shadow.Line, shadow.Method)
	}
	e := in.edit(h, in.Self, f, file.Bytes())
	e.Why = why
	return Planned{Effects: []effect.Effect{e}, Settles: []Settle{{Host: in.Self.Name, Why: "pg_hba.conf"}}}, nil
}

func parseHBA(in In, f host.File) (*hba.File, error) {
	file := hba.Parse(f.Data)
	if bad := file.Errors(); len(bad) > 0 {
		return nil, fault.Refuse(in.Self.Name, "mend the line, then type the same command again",
			fmt.Errorf("%s:%d is not a rule that PostgreSQL understands: %s", f.Path, bad[0].Line, bad[0].Reason))
	}
	return file, nil
}

// rule admits one address to a server of version v.
func (s *HBA) rule(address string, v postgres.Version) (hba.Rule, error) {
	method := s.Allow.Method
	if method == "" {
		method = string(v.PasswordHash())
	}
	name, err := hba.Name(s.Allow.User)
	if err != nil {
		return hba.Rule{}, fmt.Errorf("pg_hba.conf rule: user: %w", err)
	}
	return hba.Rule{Type: s.Allow.Type, Databases: []hba.Token{{Value: s.Allow.Database}}, Users: []hba.Token{name}, Address: address, Method: method}, nil
}

// edit is a WriteFile of a configuration file of hst's server, judged by
// PostgreSQL before it counts. Passwords that others wrote there are masked in what is
// shown: see effect.WriteFile.
func (in In) edit(h *facts.Host, hst *inventory.Host, before host.File, after []byte) *effect.WriteFile {
	return &effect.WriteFile{
		Host: hst.Name, As: hst.Postgres.OSUser, Path: before.Path, Before: before, Data: after, Mode: 0o600,
		Image: in.image(h.Machine.OSUserHome, imageName(before.Path)),
		Judge: judge(h, hst),
	}
}

func judge(h *facts.Host, hst *inventory.Host) *effect.Judge {
	return &effect.Judge{Postgres: h.Machine.BinDirectory + "/postgres", ConfigDir: hst.Postgres.ConfigDirectory,
		As: hst.Postgres.OSUser, Running: h.Server.Running, Version: h.Server.Version}
}
