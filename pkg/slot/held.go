package slot

import (
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

const heldPrefix = "pgrepctl_"

// Held is the name of the temporary slot that a run's backup holds until its copy is
// there. A slot's name has no other characters than those of a run's id, and no capital
// letters.
func Held(run string) string {
	return heldPrefix + strings.ReplaceAll(strings.ToLower(run), "-", "_")
}

// IsHeld reports whether a slot is one of those: a run copies just now.
func IsHeld(s facts.Slot) bool { return s.Temporary && strings.HasPrefix(s.Name, heldPrefix) }
