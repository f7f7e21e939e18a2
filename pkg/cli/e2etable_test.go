package cli

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	endToEndRow  = regexp.MustCompile("(?m)^\\| (`[a-z0-9_]+_test\\.go`(?:, `[a-z0-9_]+_test\\.go`)*) \\| .+ \\|$")
	endToEndTest = regexp.MustCompile(`(?m)^func Test\w+\(t \*testing\.T\)`)
)

// docs/testing.md says of each file with end-to-end tests what is in it, and of no
// file that is gone.
func TestEveryEndToEndTestIsInTheTableOfTheDocs(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(string(read(t, "../../docs/testing.md")), "\n## End to end\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	for _, m := range endToEndRow.FindAllStringSubmatch(section, -1) {
		for _, name := range strings.Split(m[1], ", ") {
			name = strings.Trim(name, "`")
			if listed[name] {
				t.Errorf("%s is there twice", name)
			}
			listed[name] = true
		}
	}
	with := 0
	for _, file := range files(t, "../../test/e2e/*_test.go") {
		name := filepath.Base(file)
		if endToEndTest.Match(read(t, file)) {
			with++
			if !listed[name] {
				t.Errorf("%s has tests, and no row", name)
			}
		}
		delete(listed, name)
	}
	if with == 0 {
		t.Error("no file has a test: nothing was compared")
	}
	for name := range listed {
		t.Errorf("%s has a row, and is not there", name)
	}
}
