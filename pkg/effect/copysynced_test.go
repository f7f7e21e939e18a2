package effect_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

func syncCopy() *effect.SyncCopy {
	return &effect.SyncCopy{Exec: effect.Exec{Host: "pg1", As: "postgres", Argv: []string{"sync", "-f", "/data"}, Verb: "fsync", What: "/data"}, Boot: "boot1"}
}

func TestASyncOfACopyThatFailsIsNoted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		notes bool
		want  string
	}{
		"it fails":                    {exit(1, "Input/output error"), true, "pg1: fsync /data: sync: exit status 1: Input/output error"},
		"it could not be run":         {exit(127, "initdb: not found"), false, "fsync /data: sync: exit status 127: initdb: not found"},
		"nobody says how it came out": {errors.New("the connection was lost"), false, "fsync /data: the connection was lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, in := script(t, call{Do: "run sync -f /data as postgres", Err: c.err})
			_, err := syncCopy().Do(t.Context(), in)
			wantFault(t, err, c.want, fault.Failed)
			if boot, noted := in.known[effect.CopyUnsynced("pg1")]; noted != c.notes || noted && boot != "boot1" {
				t.Errorf("noted: %v", in.known)
			}
		})
	}
	_, in := script(t, call{Do: "run sync -f /data as postgres"})
	if out := do(t, syncCopy(), in); out[effect.CopySynced] == "" || len(in.known) > 0 {
		t.Errorf("%v, noted: %v", out, in.known)
	}
}

// What the kernel has told a sync nobody else is told: it must see it, and leave its mark.
func TestASyncOfACopyIsNotEndedHalfWay(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan struct{})
	h := runner{hosttest.NewScript(t, "pg1", hosttest.NewFS()), func(inside context.Context, _ host.Cmd, _ host.Stdio) error {
		cancel(errors.New("interrupted twice"))
		<-ended
		if inside.Err() != nil {
			t.Error("it was ended")
		}
		ended <- struct{}{}
		return nil
	}}
	_, err := syncCopy().Do(ctx, newEnv(h))
	wantFault(t, err, "fsync /data: interrupted twice", fault.Failed)
	ended <- struct{}{}
	<-ended
}

// A sync before it, of another copy, says nothing of this one.
func TestACompleteCopyHasItsBootAndIsNotSynced(t *testing.T) {
	t.Parallel()
	control, err := os.ReadFile("../postgres/testdata/control/15-running.control")
	if err != nil {
		t.Fatal(err)
	}
	fs, _ := tree(map[string]string{"/source/global/pg_control": string(control), "/data/global/x": ""})
	out := do(t, &effect.FetchControl{Host: "pg1", As: "postgres", From: "pg1", FromAs: "postgres", Source: "/source", Target: "/data", SystemID: "7710845818950439207", Boot: "boot1"},
		newEnv(disk{hosttest.NewScript(t, "pg1", fs)}))
	if diff := cmp.Diff(effect.Output{effect.CopyBoot: "boot1", effect.CopySynced: ""}, out); diff != "" {
		t.Error(diff)
	}
}
