package doctor

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/doctor.md anew")

func TestDocumentListsTheChecks(t *testing.T) {
	t.Parallel()
	const path = "../../docs/doctor.md"
	if *update {
		if err := os.WriteFile(path, []byte(document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), document()); diff != "" {
		t.Errorf("run the test with -update: %s", diff)
	}
}

// document is the table of all checks.
func document() string {
	var b strings.Builder
	b.WriteString("# Checks of `pgrepctl doctor`\n\n" +
		"A check that *blocks* refuses the run; `--accept ID` goes on all the same. Checks read and change nothing.\n\n" +
		"| ID | severity | looked at | what and why |\n|---|---|---|---|\n")
	for _, c := range Checks() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.ID, c.Severity, c.where(), strings.ReplaceAll(c.Doc, "|", "\\|"))
	}
	return b.String()
}

func (c Check) where() string {
	switch {
	case c.onSource != nil:
		return "hosts that are copied from"
	case c.onPair != nil:
		return "standby and upstream"
	}
	return "every host"
}
