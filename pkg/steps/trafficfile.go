package steps

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// drainFile plans a drain by the file that a balancer's check looks for. Nobody tells how
// many sessions are left, nor who else serves: that is read off the files of the others.
func (s *Traffic) drainFile(ctx context.Context, in In, self *facts.Host, b *inventory.Balancer, d *draining) error {
	f, err := self.File(ctx, in.Self.Postgres.OSUser, b.Path)
	if err != nil {
		return err
	}
	e := &effect.HealthFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: b.Path, Text: in.healthText(), After: s.after(self)}
	switch {
	case f.Exists && !in.Run.Claimed(e.KeptAway()):
		d.already = append(d.already, b.Name)
		return nil
	case f.Exists:
		// This run has made it, and may have been cut off before the readers had left.
		d.already, d.left = append(d.already, b.Name), true
		if s.looksAtFiles(in) {
			if e.Others, err = in.othersByFile(ctx, b); err != nil {
				return err
			}
		}
	default:
		if err := s.lastFile(ctx, in, self, b, e); err != nil {
			return err
		}
		d.effects = append(d.effects, e)
	}
	if s.looksAtFiles(in) {
		d.files = append(d.files, *e)
	}
	if b.Settle > 0 && self.Server.Running {
		d.effects = append(d.effects, &effect.AwaitCheck{Host: in.Self.Name, Path: b.Path, For: b.Settle})
	}
	return nil
}

// healthText is what this run writes into a health file.
func (in In) healthText() string { return "drained by pgrepctl, run " + in.Run.ID() + "\n" }

// looksAtFiles: who else serves matters, and no balancer says it.
func (s *Traffic) looksAtFiles(in In) bool { return s.IfLast != "drain" && !in.tellsServers() }

// lastFile refuses a drain that leaves too few standbys without the file, and has it look
// once more just before.
func (s *Traffic) lastFile(ctx context.Context, in In, self *facts.Host, b *inventory.Balancer, e *effect.HealthFile) error {
	if !s.looksAtFiles(in) {
		return nil
	}
	others, err := in.othersByFile(ctx, b)
	switch n := len(others); {
	case err != nil:
		return err
	case n == 0 && !self.Server.Running:
		return nil // nobody can read from it, and nobody shall until it is done
	case n == 0:
		return fault.Refuse(b.Name, "see who serves: pgrepctl traffic show; to drain it all the same: pgrepctl traffic drain "+in.Self.Name+" --last",
			fmt.Errorf("%s is the last standby that serves: no other one runs without %s, and reads would fail", in.Self.Name, b.Path))
	case n < s.least():
		return fault.Refuse(b.Name, "see who serves: pgrepctl traffic show; or allow for fewer: --min-serving",
			fmt.Errorf("without %s %d standbys would serve, for the others have %s, and at least %d must", in.Self.Name, n, b.Path, s.least()))
	}
	e.Others, e.Least = others, s.least()
	return nil
}

// othersByFile are the other standbys of the inventory that run and have no health file,
// each with the OS user that reads it. One that cannot be asked is none of them.
func (in In) othersByFile(ctx context.Context, b *inventory.Balancer) (map[string]string, error) {
	others := map[string]string{}
	for _, x := range in.Cluster.Standbys() {
		if x.Name == in.Self.Name || x.BalancedName() == "" || x.ApplyDelay > 0 || slices.Contains(in.Without, x.Name) {
			continue
		}
		h, err := in.Facts.Of(ctx, x.Name)
		switch class := fault.ClassOf(err); {
		case err != nil && (class == fault.Unreachable || class == fault.Auth):
			continue
		case err != nil:
			return nil, err
		case !h.Server.Running:
			continue
		}
		f, err := h.File(ctx, x.Postgres.OSUser, b.Path)
		if err != nil {
			return nil, err
		}
		if !f.Exists {
			others[x.Name] = x.Postgres.OSUser
		}
	}
	return others, nil
}

// readByFile refuses a rollout beside a standby of which only a file tells whether it
// serves, and that takes no part. Who was there before the file was made may read on, and
// only its server knows.
func (in In) readByFile(ctx context.Context, x *inventory.Host) error {
	byFile := slices.DeleteFunc(slices.Clone(in.Cluster.Traffic.Balancers), func(b *inventory.Balancer) bool { return b.Kind != inventory.BalancerFile })
	if len(byFile) == 0 {
		return nil
	}
	h, err := in.Facts.Of(ctx, x.Name)
	switch class := fault.ClassOf(err); {
	case err != nil && (class == fault.Unreachable || class == fault.Auth):
		return nil // as in othersByFile
	case err != nil:
		return err
	case !h.Server.Running:
		return nil
	}
	kept := ""
	for _, b := range byFile {
		f, err := h.File(ctx, x.Postgres.OSUser, b.Path)
		if err != nil {
			return err
		}
		if f.Exists {
			kept = b.Path
		}
	}
	if kept == "" {
		return fault.Refuse(x.Name, "type the same command again: it takes part then; or keep all reads away from it: pgrepctl traffic drain "+x.Name,
			fmt.Errorf("it runs without %s by now, and takes no part: its readers would be held up by the change", byFile[0].Path))
	}
	n, err := h.Clients(ctx, in.Cluster.Traffic.IgnoreUsers)
	if err != nil || n == 0 {
		return err
	}
	return fault.Refuse(x.Name, "wait until they have left, or let it serve: pgrepctl traffic restore "+x.Name+"; roles of monitoring belong to ignore_users of the inventory; then type the same command again",
		fmt.Errorf("its server still has %d clients, and it takes no part: %s keeps new reads away, and those would be held up by the change", n, kept))
}

// knowsServers: it can be asked which servers it has, and what it does with each.
func knowsServers(b *inventory.Balancer) bool {
	return b.Kind == inventory.BalancerHAProxy || b.Kind == inventory.BalancerCommand
}

// tellsServers: such a one is asked who else serves, and no file has to be read for that.
func (in In) tellsServers() bool {
	return slices.ContainsFunc(in.Cluster.Traffic.Balancers, knowsServers)
}

// lastByFile is lastServer for a file.
func (in In) lastByFile(ctx context.Context, b *inventory.Balancer, least int) (bool, error) {
	if in.tellsServers() {
		return false, nil
	}
	self, err := in.self(ctx)
	if err != nil {
		return false, err
	}
	f, err := self.File(ctx, in.Self.Postgres.OSUser, b.Path)
	if err != nil || f.Exists {
		return false, err
	}
	others, err := in.othersByFile(ctx, b)
	return len(others) < least, err
}

// serveFile plans to remove it, and gives what has to be waited for afterwards. One that
// this run has made, and others have written since, stays.
func (s *Traffic) serveFile(ctx context.Context, in In, self *facts.Host, b *inventory.Balancer) (remove, wait effect.Effect, others bool, err error) {
	f, err := self.File(ctx, in.Self.Postgres.OSUser, b.Path)
	if err != nil {
		return nil, nil, false, err
	}
	e := &effect.HealthFile{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Path: b.Path, Text: string(f.Data), Serve: true, Back: s.State == foundTraffic, Asked: !s.ownOnly()}
	if !f.Exists || !s.lets(in, e) {
		return nil, nil, false, nil
	}
	if s.ownOnly() && e.Text != in.healthText() {
		return nil, nil, true, nil
	}
	if b.Settle > 0 && self.Server.Running {
		wait = &effect.AwaitCheck{Host: in.Self.Name, Path: b.Path, For: b.Settle, Serve: true}
	}
	return e, wait, false, nil
}
