package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		p := noop("%s", reason)
		var err error
		p.Held, err = in.refuseWALGone(ctx)
		return p, err
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	seen, err := examine(ctx, in, h, doctor.Scope{Standby: in.Self.Name, Run: in.Run.ID()})
	if err != nil {
		return Planned{}, err
	}
	if unfit != nil {
		return Planned{}, unfit
	}
	if len(seen) == 0 {
		return noop("%d checks, nothing in the way", len(doctor.Checks())), nil
	}
	return noop("%d checks, nothing in the way; but %s", len(doctor.Checks()), strings.Join(seen, "; ")), nil
}

// examine runs the checks of doctor for a standby, of which self are the facts, and its
// upstream. What does not block is returned in words.
func examine(ctx context.Context, in In, self *facts.Host, scope doctor.Scope) ([]string, error) {
	hosts := map[string]*facts.Host{}
	names := []string{in.Cluster.Primary().Name}
	if up := in.Cluster.Upstream(in.Self); up != nil {
		names = append(names, up.Name)
	}
	for _, name := range names {
		h, err := in.Facts.Of(ctx, name)
		if err != nil {
			return nil, err
		}
		hosts[name] = h
	}
	hosts[in.Self.Name] = self
	found, err := doctor.Examine(ctx, in.Cluster, hosts, scope)
	if err != nil {
		return nil, err
	}
	// That one is no check of doctor, and is for the step that it is about.
	accepted := slices.DeleteFunc(slices.Clone(in.Run.Accepted()), func(id string) bool { return scope.Reseed && id == SyncQuorum })
	block, rest, err := doctor.Accept(found, accepted)
	if err != nil {
		return nil, &fault.Error{Class: fault.Usage, Err: err, Hint: "pgrepctl doctor"}
	}
	if len(block) > 0 {
		return nil, refuseFindings(block)
	}
	var seen []string
	for _, f := range rest {
		if f.Severity != doctor.Note {
			seen = append(seen, f.Host+" "+f.ID+": "+f.Found)
		}
	}
	return seen, nil
}

func refuseFindings(block []doctor.Finding) error {
	errs := make([]error, len(block))
	for i, f := range block {
		errs[i] = &fault.Error{Class: fault.Refused, Host: f.Host, Op: "check " + f.ID, Err: errors.New(f.Found), Hint: f.Remedy}
	}
	return fmt.Errorf("preflight: %w", errors.Join(errs...))
}
