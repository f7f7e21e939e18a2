package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
)

func TestTheResultOfARunNamesItsForm(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{Stdio: Stdio{Out: &out, Err: &out, Env: func(string) string { return "" }}}
	root := a.root()
	root.SetArgs([]string{"-o", "json", "version"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := a.report(&engine.Report{Run: "r", Plan: "p", Done: []string{}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), ""); !strings.HasPrefix(got, `{"format":"pgrepctl.run/v1","run":"r","plan":"p",`) {
		t.Errorf("got %s", got)
	}
}
