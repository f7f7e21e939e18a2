package engine_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// What this version does not know may be what keeps an inverse from doing harm.
func TestARunThatALaterVersionWroteIsListedAndNeitherResumedNorUndone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, inverse, old, now, want string }{
		{"a field of an inverse", `{"kind":"remove-dir","effect":{"host":"pg1","as":"","path":"/etc/a","only_if":"x"}}`, "", "", `unknown field "only_if"`},
		{"an inverse", `{"kind":"remove-moon","effect":{}}`, "", "", `unknown effect "remove-moon"`},
		{"the format", `{"kind":"remove-dir","effect":{"host":"pg1","as":"","path":"/etc/a"}}`, `"journal_format":1`, `"journal_format":2`, "its journal has format 2, and this one knows up to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, layout{})
			j, err := journal.Create(w.dir, journal.Run{ID: "run1", Cluster: "shop", Plan: "test", PlanText: planText, Operator: operatorName, Version: "9.9"}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = j.Append(journal.Record{Type: journal.Intent, Effect: "make-dir", Host: "pg1", Text: "make directory /etc/a", Inverse: json.RawMessage(c.inverse)})
			b, rerr := os.ReadFile(j.Path())
			if err := errors.Join(err, rerr, j.Close()); err != nil {
				t.Fatal(err)
			}
			text := string(b)
			if c.old != "" && !strings.Contains(text, c.old) {
				t.Fatalf("no %s in %s", c.old, text)
			}
			if err := os.WriteFile(j.Path(), []byte(strings.Replace(text, c.old, c.now, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			e, start := w.engine(nil, nil), w.state()
			if runs, err := e.List(t.Context()); err != nil || len(runs) != 1 || !runs[0].Open() {
				t.Errorf("list: %+v, %v", runs, err)
			}
			f := w.found(t)
			for name, do := range map[string]func() (*engine.Report, error){
				"resume":         func() (*engine.Report, error) { return e.Resume(t.Context(), f) },
				"undo":           func() (*engine.Report, error) { return e.Undo(t.Context(), f) },
				"preview resume": func() (*engine.Report, error) { _, err := e.PreviewResume(t.Context(), f); return nil, err },
				"preview undo":   func() (*engine.Report, error) { return nil, e.RefuseUndo(f) },
			} {
				r, err := do()
				var refused *fault.Error
				if r != nil || !errors.Is(err, engine.ErrNotKnown) || !errors.As(err, &refused) || refused.Class != fault.Refused || !strings.Contains(err.Error(), "read the journal of run run1: this pgrepctl does not know what is in the journal: it was begun by pgrepctl 9.9: ") || !strings.Contains(err.Error(), c.want) ||
					!strings.HasPrefix(refused.Hint, "type the same command with the pgrepctl that wrote it") {
					t.Errorf("%s: %v", name, err)
				}
			}
			differ(t, "-before +refused", start, w.state())
			if ways := e.WaysOut("run1"); ways != "to end it and leave what it did as it is: pgrepctl runs abandon run1" {
				t.Errorf("it offers %q", ways)
			}
		})
	}
}
