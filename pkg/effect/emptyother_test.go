package effect_test

import (
	"errors"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

func TestADirectoryWithTheCopyOfAnotherBackupIsNotThisRunsToEmpty(t *testing.T) {
	t.Parallel()
	const ours, theirs = "START TIME: 1\nLABEL: pgrepctl\n", "START TIME: 2\nLABEL: pgrepctl\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"none":                          {nil, ""},
		"ours":                          {map[string]string{"/data/backup_label": ours}, ""},
		"ours, started":                 {map[string]string{"/data/backup_label.old": ours}, ""},
		"theirs":                        {map[string]string{"/data/backup_label": theirs}, "/data/backup_label"},
		"theirs, begun over by us":      {map[string]string{"/data/backup_label": theirs, "/data/pgrepctl.run": `{"run":"run1"}`}, ""},
		"theirs, begun over by another": {map[string]string{"/data/backup_label": theirs, "/data/pgrepctl.run": `{"run":"run7"}`}, "/data/backup_label"},
		"theirs, started":               {map[string]string{"/data/backup_label.old": theirs}, "/data/backup_label.old"},
	} {
		tree := standbyTree()
		for p, text := range c.files {
			tree.Put(p, "postgres", 0o600, text)
		}
		h := disk{hosttest.NewScript(t, "pg2", tree)}
		err := (&effect.EmptyDirectory{Host: "pg2", As: "postgres", Path: "/data"}).RefuseOther(t.Context(), h, "run1", func(label string) bool { return label == ours })
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantFault(t, err, "pg2: /data is not the copy that this run made: "+c.want+" is of another backup (START TIME: 2, LABEL: pgrepctl)", fault.Refused)
		if !errors.Is(err, effect.ErrUntouched) {
			t.Errorf("%s: it says that something was changed", name)
		}
	}
}
