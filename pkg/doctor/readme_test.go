package doctor

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

var countOfChecks = regexp.MustCompile(`([0-9]+) checks`)

// The preview that the README shows counts the checks that there are.
func TestREADMECountsEveryCheck(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	counts := countOfChecks.FindAllSubmatch(text, -1)
	if len(counts) == 0 {
		t.Error("README.md does not say how many checks there are")
	}
	for _, m := range counts {
		if want := strconv.Itoa(len(Checks())); string(m[1]) != want {
			t.Errorf("README.md says %q, want %s", m[0], want)
		}
	}
}
