package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// waitReplay waits for a position, that of the primary now if text is empty.
func (a *app) waitReplay(ctx context.Context, s *session, h *inventory.Host, text string) error {
	hosts := []*inventory.Host{h}
	if text == "" {
		hosts = append(hosts, s.inv.Primary())
	}
	seen := a.look(ctx, s, hosts)
	for _, x := range hosts {
		if err := seen[x.Name].Err; err != nil {
			return err
		}
		if !seen[x.Name].Facts.Server.Running {
			return &fault.Error{Class: fault.Unreachable, Host: x.Name, Err: errors.New("its server does not run"), Hint: "pgrepctl status"}
		}
	}
	f := seen[h.Name].Facts
	lsn, err := a.position(ctx, s, seen[s.inv.Primary().Name].Facts, text)
	if err != nil {
		return err
	}
	sql, err := s.sql(ctx, h.Name)
	if err != nil {
		return err
	}
	at, err := replay.Await(ctx, sql, f.Server.Version, lsn)
	if fault.ClassOf(context.Cause(ctx)) == fault.Interrupted {
		return context.Cause(ctx)
	}
	out := waited{Format: replay.WaitFormat, Host: h.Name, LSN: lsn.String(), Replay: at.Replayed().String(), Reached: err == nil}
	if a.set.Output() != "table" {
		if eerr := a.encode(out); eerr != nil {
			return errors.Join(err, eerr)
		}
	} else if err == nil {
		_, err := fmt.Fprintf(a.Out, "%s has replayed %s: it is at %s\n", h.Name, lsn, at.Replayed())
		return err
	}
	if err == nil {
		return nil
	}
	return a.notReached(ctx, h, f, lsn, at, err)
}

// notReached says how far a standby is that was waited for in vain.
func (a *app) notReached(ctx context.Context, h *inventory.Host, f *facts.Host, lsn postgres.LSN, at replay.Progress, err error) error {
	out := &fault.Error{Class: fault.Failed, Host: h.Name, Op: "wait until it has replayed " + lsn.String(), Err: err, Hint: "pgrepctl replay status " + h.Name}
	switch {
	case errors.Is(err, replay.ErrPaused):
		out.Hint = "pgrepctl replay resume " + h.Name
	case ctx.Err() != nil:
		out.State = fmt.Sprintf("it has replayed up to %s, %s before that, and received up to %s", at.Replayed(), ui.Bytes(max(lsn.Sub(at.Replayed()), 0)), at.Received())
		// The context is over: what is known already has to do.
		if delay, derr := steps.DelayOf(context.WithoutCancel(ctx), h.Postgres.OSUser, f); derr == nil && delay > 0 {
			out.State += "; it replays " + ui.Span(delay) + " late on purpose"
		}
	}
	return out
}

// position is the one given, else how far the primary has written.
func (a *app) position(ctx context.Context, s *session, primary *facts.Host, text string) (postgres.LSN, error) {
	if text != "" {
		lsn, err := postgres.ParseLSN(text)
		if err != nil {
			return 0, &fault.Error{Class: fault.Usage, Err: err, Hint: "pgrepctl replay wait --help"}
		}
		return lsn, nil
	}
	if primary.Server.InRecovery {
		return 0, fault.Refuse(primary.Name, "pgrepctl status", errors.New("it is in recovery, and the inventory says primary"))
	}
	sql, err := s.sql(ctx, primary.Name)
	if err != nil {
		return 0, err
	}
	var rows []struct {
		LSN postgres.LSN `json:"lsn"`
	}
	if err := sql.Query(ctx, &rows, "select "+primary.Server.Version.CurrentWAL()+"::text as lsn"); err != nil {
		return 0, fmt.Errorf("ask %s for its position: %w", primary.Name, err)
	}
	return rows[0].LSN, nil
}

// sql is the one ordinary session on a host's server.
func (s *session) sql(ctx context.Context, name string) (host.SQL, error) {
	g, err := s.conn.gatherer(ctx, name)
	if err != nil {
		return nil, err
	}
	return g.SQL(ctx)
}
