package steps_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The document has the line broken, for reading.
func TestTheLineOfACopyKeyIsTheOneInTheDocument(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "copy-key.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	line := ""
	for _, f := range archive.Files {
		if f.Name == "open, as the built-in plan has it, into what this run has begun/want" {
			_, after, _ := strings.Cut(string(f.Data), "\n  restrict,")
			line, _, _ = strings.Cut("restrict,"+after, "\n")
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "safety.md"))
	if err != nil {
		t.Fatal(err)
	}
	one := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if line == "" || !strings.Contains(one(string(doc)), "``` "+one(line)+" ```") {
		t.Errorf("docs/safety.md does not have this line:\n%s", line)
	}
}
