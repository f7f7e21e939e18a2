package verify

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// identity is a row of postgres.Version.Identity.
type identity struct {
	System   string `json:"system"`
	Timeline int    `json:"timeline"`
	Recovery bool   `json:"recovery"`
	Paused   bool   `json:"paused"`
}

// stream proves that the standby streams and replays. It only reads.
func (r *run) stream(ctx context.Context) error {
	if up, sb := r.running(r.Upstream), r.running(r.Standby); !up || !sb {
		return nil
	}
	up, err := r.open(ctx, r.Upstream, "")
	if err != nil {
		return err
	}
	defer closing(ctx, up)
	sb, err := r.open(ctx, r.Standby, "")
	if err != nil {
		return err
	}
	defer closing(ctx, sb)
	// First: a standby that has just come up again is given its time.
	sending, err := r.sender(ctx, up)
	if err != nil {
		return err
	}
	is, err := r.same(ctx, up, sb)
	if err != nil {
		return err
	}
	r.add(sending)
	if err := r.slot(ctx, up); err != nil {
		return err
	}
	return r.position(ctx, up, sb, is, sending.Result == OK)
}

// sender waits until the upstream shows the standby as streaming.
func (r *run) sender(ctx context.Context, up host.SQL) (Check, error) {
	v, name := r.Upstream.Facts.Server.Version, r.Upstream.Name
	state, mark := "there is no walsender for "+r.Application, ""
	c := Check{Name: "sender", Result: Failed}
	deadline := time.Now().Add(r.Wait)
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		var rows []struct {
			State string `json:"state"`
			Mark  string `json:"mark"`
		}
		if err := up.Query(ctx, &rows, v.SenderProgress(), r.Application); err != nil {
			return false, fmt.Errorf("look at the walsenders of %s: %w", name, err)
		}
		switch {
		case len(rows) == 1 && rows[0].State == "streaming":
			c.Result = OK
			return true, nil
		case len(rows) > 1:
			state = fmt.Sprintf("%d walsenders call themselves %s", len(rows), r.Application)
		case len(rows) == 1:
			state = "its walsender is in state " + rows[0].State
			if rows[0].Mark != mark { // it catches up
				deadline, mark = time.Now().Add(r.Wait), rows[0].Mark
			}
		}
		return time.Now().After(deadline), nil
	})
	if c.Result == OK {
		c.Detail = name + " shows it streaming"
	} else {
		c.Detail = fmt.Sprintf("%s does not show it streaming within %s: %s", name, r.Wait, state)
		c.Hint = "the server log of " + r.Standby.Name + " says why its walreceiver does not stream"
	}
	return c, err
}

// same compares who the two servers are.
func (r *run) same(ctx context.Context, up, sb host.SQL) (identity, error) {
	var a, b []identity
	if err := up.Query(ctx, &a, r.Upstream.Facts.Server.Version.Identity()); err != nil {
		return identity{}, fmt.Errorf("identify the server of %s: %w", r.Upstream.Name, err)
	}
	if err := sb.Query(ctx, &b, r.Standby.Facts.Server.Version.Identity()); err != nil {
		return identity{}, fmt.Errorf("identify the server of %s: %w", r.Standby.Name, err)
	}
	if len(a) != 1 || len(b) != 1 {
		return identity{}, fmt.Errorf("identify the servers: %d and %d rows", len(a), len(b))
	}
	v := r.Standby.Facts.Server.Version
	verdict := func(name string, good bool, well, bad, hint string) {
		if good {
			r.add(Check{Name: name, Result: OK, Detail: well})
			return
		}
		r.add(Check{Name: name, Result: Failed, Detail: bad, Hint: hint})
	}
	verdict("recovery", b[0].Recovery, "in recovery", "not in recovery: it takes writes of its own", "pgrepctl status")
	if v.ControlFunctions() {
		verdict("system", a[0].System == b[0].System, "system identifier "+b[0].System,
			fmt.Sprintf("system identifier %s, that of %s is %s", b[0].System, r.Upstream.Name, a[0].System), "it is a standby of another cluster")
		verdict("timeline", a[0].Timeline == b[0].Timeline, fmt.Sprintf("timeline %d", b[0].Timeline),
			fmt.Sprintf("timeline %d, %s is on %d", b[0].Timeline, r.Upstream.Name, a[0].Timeline), "")
	} else {
		r.add(Check{Name: "system", Result: NotPossible, Detail: "SQL of " + v.Major() + " tells neither system nor timeline; that it streams proves both"})
	}
	switch {
	case !b[0].Paused:
		r.add(Check{Name: "pause", Result: OK, Detail: "replay is not paused"})
	case r.Delayed:
		r.add(Check{Name: "pause", Result: OK, Detail: "replay is paused, on a standby that shall replay late"})
	default:
		r.add(Check{Name: "pause", Result: Failed, Detail: "replay is paused", Hint: "pgrepctl replay resume " + r.Standby.Name})
	}
	return b[0], nil
}

func (r *run) slot(ctx context.Context, up host.SQL) error {
	if r.Slot == "" {
		return nil
	}
	var rows []struct {
		Active bool `json:"active"`
	}
	if err := up.Query(ctx, &rows, "select active from pg_replication_slots where slot_name = $1", r.Slot); err != nil {
		return fmt.Errorf("look at the slots of %s: %w", r.Upstream.Name, err)
	}
	c := Check{Name: "slot", Result: OK, Detail: fmt.Sprintf("slot %s of %s is in use", r.Slot, r.Upstream.Name)}
	switch {
	case len(rows) == 0:
		c.Result, c.Detail = Failed, fmt.Sprintf("%s has no slot %s", r.Upstream.Name, r.Slot)
		c.Hint = "pgrepctl standby bootstrap " + r.Standby.Name + " --dry-run"
	case !rows[0].Active:
		c.Result, c.Detail = Failed, fmt.Sprintf("slot %s of %s is not in use", r.Slot, r.Upstream.Name)
		c.Hint = "show primary_slot_name on " + r.Standby.Name
	}
	r.add(c)
	return nil
}

// position proves that the standby gets to where its upstream is now.
func (r *run) position(ctx context.Context, up, sb host.SQL, is identity, streams bool) error {
	c, verb := Check{Name: "replay"}, "replayed"
	if r.Delayed {
		c.Name, verb = "receive", "received"
	}
	switch {
	case !is.Recovery:
		c.Result, c.Detail = NotPossible, "it is not in recovery"
	case !streams:
		c.Result, c.Detail = NotPossible, "it does not stream"
	case is.Paused && !r.Delayed:
		c.Result, c.Detail = NotPossible, "replay is paused"
	}
	if c.Result != "" {
		r.add(c)
		return nil
	}
	v := r.Upstream.Facts.Server.Version
	var mark []struct {
		LSN postgres.LSN `json:"lsn"`
	}
	if err := up.Query(ctx, &mark, "select case when pg_is_in_recovery() then "+v.LastReplay()+" else "+v.CurrentWAL()+" end as lsn"); err != nil {
		return fmt.Errorf("take a position on %s: %w", r.Upstream.Name, err)
	}
	if len(mark) != 1 {
		return fmt.Errorf("take a position on %s: %d rows", r.Upstream.Name, len(mark))
	}
	if err := reach(ctx, sb, r.Standby.Facts.Server.Version, mark[0].LSN, r.Delayed, true, r.Wait); err != nil {
		c.Result, c.Detail, c.Hint = Failed, err.Error(), "pgrepctl status"
	} else {
		c.Result, c.Detail = OK, fmt.Sprintf("%s %s, which %s had written just before", verb, mark[0].LSN, r.Upstream.Name)
	}
	r.add(c)
	return nil
}
