package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Each testdata/bad/NAME.yaml has the problems of NAME.txt, all of them.
func TestMistakesAreAllReportedWithTheirPlaces(t *testing.T) {
	t.Parallel()
	for _, file := range glob(t, filepath.Join("testdata", "bad", "*.yaml")) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name+".yaml", data)
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			if c != nil {
				t.Error("a cluster comes with the error")
			}
			if got := fault.ClassOf(err); got != fault.Invalid {
				t.Errorf("class %d, want %d", got, fault.Invalid)
			}
			var problems Errors
			if !errors.As(err, &problems) {
				t.Fatalf("no Errors in %v", err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", []byte(err.Error()+"\n"))
		})
	}
}
