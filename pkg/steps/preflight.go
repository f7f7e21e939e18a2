package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Preflight examines the hosts before anything is changed, with the checks of
// `pgrepctl doctor`.
type Preflight struct{}

var _ Step = (*Preflight)(nil)

// Plan never has effects: it refuses, or it says what it saw. A run that has
// begun to change the standby passed it before.
func (*Preflight) Plan(ctx context.Context, in In) (Planned, error) {
	if in.Run.Changed(in.Self.Name) {
		return noop("passed when this run began"), nil
	}
	// What refuses the target is refused below: the checks see all reasons,
	// the most dangerous one too.
	done, reason, unfit := in.seeded(ctx)
	if done {
		return noop("%s", reason), nil
	}
	hosts := map[string]*facts.Host{}
	names := []string{in.Self.Name, in.Cluster.Primary().Name}
	if up := in.Cluster.Upstream(in.Self); up != nil {
		names = append(names, up.Name)
	}
	for _, name := range names {
		h, err := in.Facts.Of(ctx, name)
		if err != nil {
			return Planned{}, err
		}
		hosts[name] = h
	}
	found, err := doctor.Examine(ctx, in.Cluster, hosts, doctor.Scope{Standby: in.Self.Name, Run: in.Run.ID()})
	if err != nil {
		return Planned{}, err
	}
	block, rest, err := doctor.Accept(found, in.Run.Accepted())
	if err != nil {
		return Planned{}, &fault.Error{Class: fault.Usage, Err: err, Hint: "pgrepctl doctor"}
	}
	if len(block) > 0 {
		return Planned{}, refuseFindings(block)
	}
	if unfit != nil {
		return Planned{}, unfit
	}
	seen := make([]string, 0, len(rest))
	for _, f := range rest {
		if f.Severity != doctor.Note {
			seen = append(seen, f.Host+" "+f.ID+": "+f.Found)
		}
	}
	if len(seen) == 0 {
		return noop("%d checks, nothing in the way", len(doctor.Checks())), nil
	}
	return noop("%d checks, nothing in the way; but %s", len(doctor.Checks()), strings.Join(seen, "; ")), nil
}

func refuseFindings(block []doctor.Finding) error {
	errs := make([]error, len(block))
	for i, f := range block {
		errs[i] = &fault.Error{Class: fault.Refused, Host: f.Host, Op: "check " + f.ID, Err: errors.New(f.Found), Hint: f.Remedy}
	}
	return fmt.Errorf("preflight: %w", errors.Join(errs...))
}
