package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// Fork is the end of a timeline: the next one begins at LSN.
type Fork struct {
	Timeline int `json:"timeline"`
	LSN      LSN `json:"lsn"`
}

// ParseHistory reads a timeline history file: a line for each timeline before,
// oldest first, of its number, the LSN where it ended, and why.
func ParseHistory(text string) ([]Fork, error) {
	var forks []Fork
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 2 {
			return nil, fmt.Errorf("timeline history: %q: no LSN", strings.TrimSpace(line))
		}
		tli, err := strconv.ParseUint(f[0], 10, 31)
		if err != nil {
			return nil, fmt.Errorf("timeline history: %q is no timeline", f[0])
		}
		at, err := ParseLSN(f[1])
		if err != nil {
			return nil, fmt.Errorf("timeline history: %w", err)
		}
		forks = append(forks, Fork{Timeline: int(tli), LSN: at})
	}
	return forks, nil
}
