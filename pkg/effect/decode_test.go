package effect_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
)

func TestAnInverseWithAFieldThatIsNotKnownIsNotDecoded(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"kind":"remove-dir","effect":{"host":"pg1","as":"","path":"/a","only_if":"x"}}`,
		`{"kind":"remove-dir","effect":{"host":"pg1","as":"","path":"/a"},"only_if":"x"}`,
	} {
		if _, err := effect.Decode(json.RawMessage(raw)); err == nil || !strings.Contains(err.Error(), `unknown field "only_if"`) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
