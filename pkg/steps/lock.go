package steps

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

// Lock holds the cluster lock around its body.
type Lock struct{}

var _ Bracket = (*Lock)(nil)

// Open takes the lock where every operator meets: on the primary.
func (*Lock) Open(_ context.Context, in In) (Planned, error) {
	return Planned{Effects: []effect.Effect{&effect.TakeLock{Host: in.Cluster.Primary().Name}}}, nil
}

// Close frees it.
func (*Lock) Close(_ context.Context, in In) (Planned, error) {
	return Planned{Effects: []effect.Effect{&effect.ReleaseLock{Host: in.Cluster.Primary().Name}}}, nil
}
