package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// reseedCauses are the reasons why a standby cannot go on with the data that it has, as
// far as they can be seen; none when nothing is known to be wrong.
func (in In) reseedCauses(ctx context.Context, h *facts.Host, up *inventory.Host, uf *facts.Host) ([]string, error) {
	if sender, ok := uf.Server.Sender(applicationName(in.Self)); ok && sender.State == "streaming" && h.Server.Running {
		return nil, nil
	}
	var out []string
	if h.Data.State == facts.Partial {
		return []string{fmt.Sprintf("run %s of %s left a copy there that is not complete", h.Data.Marker.Run, h.Data.Marker.Operator)}, nil
	}
	if slot, ok := uf.Server.Slot(in.Self.Slot); ok && in.Self.Slot != "" && slot.WALStatus == "lost" {
		out = append(out, fmt.Sprintf("slot %s on %s has lost its WAL (wal_status lost)", slot.Name, up.Name))
	}
	c := h.Data.Control
	wasPrimary := !h.Server.Running && !h.Data.Standby
	if wasPrimary {
		out = append(out, fmt.Sprintf("it is no standby: there is no %s in %s", uf.Server.Version.RecoveryFile(), h.Data.Path))
		if !c.State.Clean() {
			out = append(out, fmt.Sprintf("it was not shut down in order (%s), so it may have written what nobody else has", c.State))
		}
	}
	tl, at := h.Reached()
	if fork, text := diverged(h, uf, tl, at); text != "" {
		out = append(out, text)
		rewind, err := in.rewindable(ctx, h, fork, wasPrimary)
		if err != nil {
			return nil, err
		}
		return append(out, rewind), nil
	}
	gone, err := walGone(ctx, up, uf, at)
	if err != nil {
		return nil, err
	}
	if gone != "" {
		out = append(out, gone)
	}
	if len(out) > 0 && !wasPrimary && len(in.Cluster.Archives) > 0 {
		out = append(out, "the archive may still have what is missing, and pgrepctl standby bootstrap "+in.Self.Name+" goes on from it, without a copy")
	}
	return out, nil
}

// diverged says where a server left the history of its upstream, if it has.
func diverged(h, uf *facts.Host, tl int, at postgres.LSN) (fork postgres.LSN, text string) {
	upTL := uf.Server.Timeline
	if tl == upTL {
		if at > uf.Server.LSN && h.Server.Replay.ReceiverStatus == "" {
			return 0, fmt.Sprintf("diverged: it has WAL of timeline %d up to %s, and %s ends at %s", tl, at, uf.Name, uf.Server.LSN)
		}
		return 0, ""
	}
	fork, how := h.Parted(uf)
	switch {
	case how != "":
		return fork, "diverged: " + how
	case fork == 0:
		return 0, fmt.Sprintf("it is on timeline %d, %s is on %d, and no history file says where they parted", tl, uf.Name, upTL)
	}
	return fork, ""
}

// rewindable says whether pg_rewind could bring it back, and why not if not.
func (in In) rewindable(ctx context.Context, h *facts.Host, fork postgres.LSN, wasPrimary bool) (string, error) {
	c := h.Data.Control
	var not []string
	if fork == 0 {
		not = append(not, "there is no known point at which the timelines parted")
	}
	if !c.WALLogHints && c.DataChecksumVersion == 0 {
		not = append(not, "neither data checksums nor wal_log_hints is on")
	}
	if h.Data.PID == 0 && wasPrimary && !c.State.Clean() {
		not = append(not, "it was not shut down in order")
	}
	if fork != 0 && c.WALSegmentSize != 0 {
		// It reads its own WAL from the last checkpoint before the fork on; that of
		// the file of the fork itself is the least.
		v, err := postgres.ParseVersion(in.Self.Postgres.Version)
		if err != nil {
			return "", fmt.Errorf("version of %s: %w", in.Self.Name, err)
		}
		oldest, err := oldestWAL(ctx, h, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, v.WALDir()))
		if err != nil {
			return "", err
		}
		first, err := postgres.SegmentName(1, fork, uint64(c.WALSegmentSize))
		if err == nil && (oldest == "" || oldest > first[8:]) {
			not = append(not, "its own WAL from the fork on is gone")
		}
	}
	if len(not) > 0 {
		return "pg_rewind is not possible: " + strings.Join(not, ", "), nil
	}
	return "pg_rewind would be possible as well; this copies what differs, which needs no such conditions", nil
}

// walGone says so if the WAL that a standby would ask for next is not on its upstream
// any more.
func walGone(ctx context.Context, up *inventory.Host, uf *facts.Host, at postgres.LSN) (string, error) {
	size := uf.Data.Control.WALSegmentSize
	if at == 0 || size == 0 {
		return "", nil
	}
	need, err := postgres.SegmentName(1, at, uint64(size))
	if err != nil {
		return "", fmt.Errorf("WAL of %s: %w", up.Name, err)
	}
	dir := path.Join(uf.Server.DataDirectory, uf.Server.Version.WALDir())
	oldest, err := oldestWAL(ctx, uf, up.Postgres.OSUser, dir)
	if err != nil || oldest == "" || need[8:] >= oldest {
		return "", err
	}
	return fmt.Sprintf("%s has removed the WAL that it needs next: it ends at %s, and the oldest file there is %s", up.Name, at, oldest), nil
}

var walFile = regexp.MustCompile(`^[0-9A-F]{24}$`)

// oldestWAL is the oldest WAL file of a directory, without its timeline: only the part
// behind that says how old a file is.
func oldestWAL(ctx context.Context, h *facts.Host, as, dir string) (string, error) {
	files, err := listWAL(ctx, h, as, dir)
	if err != nil || len(files) == 0 {
		return "", err
	}
	return slices.Min(files), nil
}

// listWAL is the WAL files of a directory, without their timelines.
func listWAL(ctx context.Context, h *facts.Host, as, dir string) ([]string, error) {
	entries, err := h.List(ctx, as, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s on %s: %w", dir, h.Name, err)
	}
	var out []string
	for _, e := range entries {
		if walFile.MatchString(e.Name) {
			out = append(out, e.Name[8:])
		}
	}
	return out, nil
}
