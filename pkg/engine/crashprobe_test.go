package engine_test

import (
	"strings"
	"testing"
)

// newProbed is a cluster in which a run that died long ago has left a scratch database.
func newProbed(t *testing.T) *world {
	t.Helper()
	w := newStandby(t, layout{})
	w.scratch["pgrepctl_scratch_lost"] = true
	return w
}

// withoutLost leaves out of a state what the probe takes away for good: nobody's.
func withoutLost(state string) string {
	return strings.ReplaceAll(state, "scratch database pgrepctl_scratch_lost\n", "")
}

func probeCases() []crashCase {
	vars := map[string]string{"database": "shop", "file": "change.sql", "script": "ALTER TABLE items ADD a int;\nALTER TABLE items ADD b int;"}
	return []crashCase{
		{name: "probe-ddl", plan: "probe-ddl", vars: vars, world: newProbed, loses: withoutLost, repeats: true},
	}
}
