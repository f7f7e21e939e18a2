package effect

import (
	"context"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// starting reports that the server accepts no session yet: one that tries would
// only add a FATAL line to its log. The server says so itself, in the eighth line of
// its postmaster.pid, which it writes (10) after it has begun to listen: pg_ctlcluster may
// take it for running before that. It has no such file yet while the command to
// start it is still under way.
func (e *Service) starting(ctx context.Context, h host.Host, underWay bool) bool {
	if !e.tells() {
		return false
	}
	lines, err := e.postmaster(ctx, h)
	switch {
	case err != nil:
		return false
	case len(lines) == 0:
		return underWay
	case len(lines) < 9: // the eighth has not been written whole
		return true
	}
	// It is "starting"; or a file was read while the server moved its lines. pg_ctl goes on
	// waiting at any other word, too.
	switch strings.TrimSpace(lines[7]) {
	case "ready", "standby", "stopping":
		return false
	}
	return true
}

// takesNone reports that the server is up, and takes no session for good: a standby with
// hot_standby off.
func (e *Service) takesNone(ctx context.Context, h host.Host) bool {
	if !e.tells() {
		return false
	}
	lines, err := e.postmaster(ctx, h)
	return err == nil && len(lines) >= 9 && strings.TrimSpace(lines[7]) == "standby"
}

// lives reports whether the postmaster of postmaster.pid is there: one that was killed
// leaves the file as it was.
func (e *Service) lives(ctx context.Context, h host.Host) bool {
	lines, err := e.postmaster(ctx, h)
	if err != nil || len(lines) == 0 {
		return false
	}
	_, err = h.Files(e.DataAs).Stat(ctx, path.Join("/proc", path.Base(strings.TrimSpace(lines[0]))))
	return err == nil
}

// postmaster is the lines of postmaster.pid; none when there is no such file.
func (e *Service) postmaster(ctx context.Context, h host.Host) ([]string, error) {
	f, err := h.Files(e.DataAs).ReadSome(ctx, path.Join(e.Data, "postmaster.pid"), 8192)
	if err != nil || !f.Exists {
		return nil, err
	}
	return strings.SplitN(string(f.Data), "\n", 9), nil
}
