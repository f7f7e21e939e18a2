package steps

import (
	"context"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// CaughtUp waits for standbys that are far behind before a rollout: a pause would add to
// that, and a standby without readers would keep them waiting for as long. Before a
// promotion it waits for the one that becomes the primary: nobody can write while that
// replays what it lacks. It is a step of its own, for after such a wait nothing is as it
// was read: what may refuse comes after it, and looks anew.
type CaughtUp struct {
	Standbys hostList `yaml:"standbys"` // hosts, with commas between
}

var _ Step = (*CaughtUp)(nil)

// smallLag is how much WAL a standby may not have replayed yet without being waited for:
// one segment, which is always on its way somewhere.
const smallLag = 16 << 20

// catchUpTimeout is how long it is waited for without progress.
const catchUpTimeout = time.Minute

// catchUpLongest is how long it is waited for with some: as long as replay may be held.
const catchUpLongest = 30 * time.Minute

// takesWrites reports whether a host answers, and its server is in recovery no longer.
func takesWrites(ctx context.Context, in In, name string) bool {
	h, err := in.Facts.Of(ctx, name)
	return err == nil && h.Server.Running && !h.Server.InRecovery
}

// Plan waits for nobody where a standby cannot take part: deployable says why.
func (s *CaughtUp) Plan(ctx context.Context, in In) (Planned, error) {
	if lsn, ok := deployed(in.Run); ok {
		return noop("the DDL is committed, at %s", lsn), nil
	}
	list, err := s.Standbys.of(in.Cluster)
	if err != nil {
		return Planned{}, err
	}
	for _, x := range list {
		if takesWrites(ctx, in, x.Name) {
			return noop("%s is a primary", x.Name), nil // a promotion that goes on: the old one may be gone by now
		}
	}
	primary, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	var waits []effect.Effect
	for _, x := range list {
		if in.rolls(ctx, x) != nil {
			return noop("%s cannot take part", x.Name), nil
		}
		h, err := in.Facts.Of(ctx, x.Name)
		if err != nil {
			return Planned{}, err
		}
		if behind := primary.Server.LSN.Sub(h.Server.LSN); primary.Server.LSN != 0 && behind > smallLag {
			waits = append(waits, &effect.AwaitLag{Host: x.Name, Of: in.Self.Name, Version: h.Server.Version, Within: smallLag, Timeout: catchUpTimeout, Longest: catchUpLongest})
		}
	}
	if len(waits) == 0 {
		return noop("nobody is more than %s behind", postgres.PrettyBytes(smallLag)), nil
	}
	return Planned{Effects: waits}, nil
}
