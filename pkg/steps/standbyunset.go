package steps

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// unsetUnwanted takes out what the inventory has no longer. A slot that is used and that no
// host of the inventory has would be nobody's as soon as its standby is down, and dropped.
// Commands that somebody else wrote are not the inventory's, and stay.
func unsetUnwanted(f *conf.File, wanted map[string]string, keep []string) {
	restore, _ := f.Get("restore_command")
	for _, name := range upstreamSettings() {
		have, is := f.Get(name)
		if _, ok := wanted[name]; ok || !is || slices.Contains(keep, name) {
			continue
		}
		switch {
		case name == "primary_slot_name" && have.Value != "",
			name == "restore_command" && isRestoreCommand(have.Value),
			name == "archive_cleanup_command" && isCleanupCommand(have.Value, restore.Value):
			f.Unset(name)
		}
	}
}

// isRestoreCommand reports whether restoreCommand wrote it: each archive is named twice.
func isRestoreCommand(s string) bool {
	const and = " && cp "
	tries := []string{s}
	if inner, ok := strings.CutPrefix(s, "{ "); ok {
		tries = strings.Split(strings.TrimSuffix(inner, "; }"), "; } || { ")
	}
	for _, try := range tries {
		files, ok := strings.CutPrefix(try, "test -f ")
		files, ends := strings.CutSuffix(files, ` "%p"`)
		n := (len(files) - len(and)) / 2
		if !ok || !ends || n < 1 || files != files[:n]+and+files[:n] || !strings.HasSuffix(strings.TrimSuffix(files[:n], "'"), "/%f") {
			return false
		}
	}
	return true
}

// isCleanupCommand reports whether cleanupCommand wrote it, beside that restore_command: by
// itself it looks like what anybody would write.
func isCleanupCommand(s, restore string) bool {
	if !isRestoreCommand(restore) {
		return false
	}
	for part := range strings.SplitSeq(s, "; ") {
		_, dir, ok := strings.Cut(part, "/pg_archivecleanup")
		dir, isDir := strings.CutPrefix(strings.TrimPrefix(dir, "'"), " ")
		dir, ends := strings.CutSuffix(dir, " %r")
		if !ok || !isDir || !ends || !strings.Contains(restore, "test -f "+strings.TrimSuffix(dir, "'")+"/%f") {
			return false
		}
	}
	return true
}

// slotElsewhere tells of a primary_slot_name that counts, is not in the file that this step
// writes, and is not wanted. Files of others are not edited for it.
func (s *StandbyConfig) slotElsewhere(ctx context.Context, in In, h *facts.Host) ([]Held, error) {
	const name = "primary_slot_name"
	pg := in.Self.Postgres
	main := path.Join(pg.ConfigDirectory, "postgresql.conf")
	f, err := h.File(ctx, pg.OSUser, main)
	if s.Slot != "" || err != nil || !f.Exists {
		return nil, err
	}
	auto, err := h.File(ctx, pg.OSUser, path.Join(pg.DataDirectory, "postgresql.auto.conf"))
	if err != nil {
		return nil, err
	}
	if l := lineOf(auto, name); l != nil && l.value == "" {
		return nil, nil // it is read last
	}
	tree, _, err := loadTree(ctx, h, pg.OSUser, main)
	if err != nil {
		return nil, err
	}
	value, file, line, ok := tree.Get(name)
	if !ok || value == "" {
		return nil, nil
	}
	return []Held{{What: fmt.Sprintf("%s = %s in %s:%d: the inventory wants no slot", name, value, file, line),
		Hint: "take the line out, and reload the server (before 13: restart it)"}}, nil
}
