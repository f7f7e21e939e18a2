package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// TestALabThatIsNotThereNamesThoseThatAre: --name is easily left out.
func TestALabThatIsNotThereNamesThoseThatAre(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	hint := func() string {
		_, err := load(state, "lab")
		var f *fault.Error
		if !errors.As(err, &f) || f.Class != fault.Refused {
			t.Fatalf("error %v", err)
		}
		return f.Hint
	}
	if got := hint(); got != "pgrepctl lab up --name lab" {
		t.Errorf("with no lab: %q", got)
	}
	if err := os.Mkdir(filepath.Join(state, "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := hint(); !strings.Contains(got, "(shop)") {
		t.Errorf("beside another lab: %q", got)
	}
}
