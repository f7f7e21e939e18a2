package effect

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// RefuseOther says no when the directory has the copy of another backup by now: the standby
// was made anew, by another machine whose runs this one does not know. The server keeps the
// backup_label that a copy was started with, as backup_label.old, and no copy brings that of
// its source. ours is given the whole file. A directory without one has a copy that never
// came to its label, or none. One with the marker of this run is this run's, whatever the
// unfinished copy before it has left.
func (e *EmptyDirectory) RefuseOther(ctx context.Context, h host.Host, run string, ours func(label string) bool) error {
	m, err := h.Files(e.As).Read(ctx, path.Join(e.Path, postgres.RunMarker))
	if err != nil {
		return fmt.Errorf("look whose copy %s is: %w", e.Path, err)
	}
	var marker facts.Marker
	if m.Exists && json.Unmarshal(m.Data, &marker) == nil && marker.Run == run {
		return nil
	}
	for _, name := range []string{"backup_label", "backup_label.old"} {
		file := path.Join(e.Path, name)
		f, err := h.Files(e.As).Read(ctx, file)
		if err != nil {
			return fmt.Errorf("look whose copy %s is: read %s: %w", e.Path, file, err)
		}
		if !f.Exists || ours(string(f.Data)) {
			continue
		}
		return &fault.Error{Class: fault.Refused, Host: e.Host,
			Err:   untouched{fmt.Errorf("%s is not the copy that this run made: %s is of another backup%s", e.Path, file, describeLabel(string(f.Data)))},
			State: "nothing was taken back",
			Hint:  "if the standby that is there now is to go: pgrepctl standby retire " + e.Host}
	}
	return nil
}

// describeLabel is what an operator knows a backup by.
func describeLabel(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "LABEL: ") || strings.HasPrefix(line, "START TIME: ") {
			words = append(words, line)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}
