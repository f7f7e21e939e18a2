package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzParseNeverPanics(f *testing.F) {
	for _, pattern := range []string{
		filepath.Join("testdata", "*", "*.yaml"),
		filepath.Join("..", "..", "examples", "inventories", "*.yaml"),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.yaml", data)
		if err != nil {
			var problems Errors
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("no Errors in %v", err)
			}
			if got := len(strings.Split(problems.Error(), "\n")); got != len(problems) {
				t.Fatalf("%d lines for %d problems:\n%v", got, len(problems), problems)
			}
			return
		}
		if c.Primary() == nil || c.Graph() == "" {
			t.Fatalf("accepted without a primary: %q", data)
		}
		out, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("g.yaml", out)
		if err != nil {
			t.Fatalf("%v in the YAML of %q:\n%s", err, data, out)
		}
		if diff := cmp.Diff(c, again, cmpopts.IgnoreTypes(Pos{}), cmpopts.IgnoreFields(Cluster{}, "File")); diff != "" {
			t.Fatalf("%q is another cluster when written and read:\n%s", data, diff)
		}
		for _, h := range c.Hosts {
			for up, n := h, 0; up.Role != Primary; up, n = c.Upstream(up), n+1 {
				if n > len(c.Hosts) || c.Upstream(up) == nil {
					t.Fatalf("%s does not lead to the primary: %q", h.Name, data)
				}
			}
			if h.Postgres.Port == 0 || h.Postgres.DataDirectory == "" || h.Address == "" ||
				(h.Slot == "") == (c.Replication.Slots && h.Role == Standby) {
				t.Fatalf("incomplete host %+v: %q", h, data)
			}
		}
	})
}
