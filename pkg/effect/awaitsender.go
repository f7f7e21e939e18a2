package effect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// renaming is for how long a walsender that has another name than it should is not taken for
// the standby's: after a change of primary_conninfo the one of before lives on for a moment,
// and proves nothing of the new conninfo.
const renaming = 10 * time.Second

// misnamed is a wait that ended while the standby received WAL, and not by the name that its
// upstream is to know it by.
type misnamed struct{ error }

func (m misnamed) Unwrap() error { return m.error }

// walsenderWait is what is known of a standby while its upstream shows no walsender of its name.
type walsenderWait struct {
	e      *AwaitStreaming
	up, sb host.SQL
	// mark moves with what is progress.
	mark  string
	last  string // what was seen, for the error
	wrong bool   // it receives, and not as it should
	pid   int    // of the walsender that its slot has led to
	since time.Time
	// restored is how far it has come without a walsender, towards what the upstream had
	// when that was first asked for.
	restored distance
	goal     *postgres.LSN
}

// senderProgress is a row of SenderProgress.
type senderProgress struct {
	State string        `json:"state"`
	Mark  string        `json:"mark"` // moves with the positions
	Sent  *postgres.LSN `json:"sent"`
	Goal  *postgres.LSN `json:"goal"`
}

// receiver is a row of pg_stat_wal_receiver.
type receiver struct {
	Status string  `json:"status"`
	Slot   *string `json:"slot_name"`
	Host   *string `json:"sender_host"` // 11+
	Port   *int    `json:"sender_port"`
}

// from is whom it receives from, where the version tells.
func (r *receiver) from() string {
	if r.Host == nil || *r.Host == "" {
		return ""
	}
	if r.Port == nil {
		return " from " + *r.Host
	}
	return " from " + *r.Host + ":" + strconv.Itoa(*r.Port)
}

// found takes note of what the upstream shows.
func (w *walsenderWait) found(what string) { w.last, w.wrong, w.pid = what, false, 0 }

// unnamed asks the standby when no walsender has its name. What it fetches from an archive, or
// has itself, no walsender shows, and replaying that is progress. What it receives is none: replay
// follows as long as anybody writes, and it never comes nearer to what is waited for. Before 9.6
// the two cannot be told apart.
func (w *walsenderWait) unnamed(ctx context.Context) (bool, string, error) {
	var now []struct {
		Replay   *postgres.LSN `json:"replay"`
		Receiver *receiver     `json:"receiver"`
		Writable bool          `json:"writable"`
	}
	q := "select " + w.e.Version.LastReplay() + " as replay, (select row_to_json(w) from (" + w.e.Version.WALReceiver() + ") w limit 1) as receiver, not pg_is_in_recovery() as writable"
	if err := w.sb.Query(ctx, &now, q); err != nil {
		return false, "", err
	}
	if len(now) == 1 && now[0].Writable {
		return false, "", errWritable
	}
	if len(now) == 1 && now[0].Receiver != nil && now[0].Receiver.Status == "streaming" {
		return w.receives(ctx, now[0].Receiver)
	}
	w.found("no walsender for it")
	if len(now) == 1 && now[0].Replay != nil {
		w.mark = now[0].Replay.String()
		if err := w.replayed(ctx, now[0].Replay); err != nil {
			return false, "", err
		}
	}
	return false, w.mark, nil
}

// replayed tells how far it has come with what it has, or gets from an archive.
func (w *walsenderWait) replayed(ctx context.Context, pos *postgres.LSN) error {
	if w.goal == nil {
		var there []struct {
			Goal *postgres.LSN `json:"goal"`
		}
		if err := w.up.Query(ctx, &there, "select ("+w.e.Version.Sendable()+")::text as goal"); err != nil {
			return fmt.Errorf("look at the position of %s: %w", w.e.Upstream, err)
		}
		if len(there) == 1 {
			w.goal = there[0].Goal
		}
	}
	w.restored.at(pos, w.goal)
	return nil
}

// receives looks for the walsender of a standby that receives: by its slot, which only one can
// use, whatever it is called.
func (w *walsenderWait) receives(ctx context.Context, r *receiver) (bool, string, error) {
	if r.Slot != nil && *r.Slot != "" {
		var by []struct {
			PID         int    `json:"pid"`
			State       string `json:"state"`
			Application string `json:"application"`
			Mark        string `json:"mark"`
		}
		q := "select s.pid, s.state, coalesce(s.application_name, '') as application, concat(s.sent_lsn, s.replay_lsn) as mark from (" + w.e.Version.WALSenders() + ") s" +
			" where s.pid = (select active_pid from pg_replication_slots where slot_name = $1)"
		if err := w.up.Query(ctx, &by, q, *r.Slot); err != nil {
			return false, "", err
		}
		if len(by) == 1 && by[0].Application == w.e.Application { // it has come meanwhile: the next look finds it
			return false, w.mark, nil
		}
		if len(by) == 1 {
			return w.byslot(by[0].PID, by[0].State, by[0].Application, by[0].Mark)
		}
	}
	var names []struct {
		Name string `json:"name"`
	}
	if err := w.up.Query(ctx, &names, "select distinct coalesce(application_name, '') as name from pg_stat_replication where state <> 'backup' order by 1"); err != nil {
		return false, "", err
	}
	var called []string
	for _, n := range names {
		if n.Name == w.e.Application {
			return false, w.mark, nil
		}
		called = append(called, strconv.Quote(n.Name))
	}
	w.found(fmt.Sprintf("its walreceiver streams%s, and %s has no walsender with application_name %s", r.from(), w.e.Upstream, w.e.Application))
	if len(called) > 0 {
		w.last += "; those there have " + strings.Join(called, ", ")
	}
	w.wrong = true
	return false, w.mark, nil
}

// byslot takes the walsender that uses the standby's slot for its own, once it is not one that
// is about to end.
func (w *walsenderWait) byslot(pid int, state, application, mark string) (bool, string, error) {
	w.last, w.wrong = fmt.Sprintf("its walsender, with application_name %q, is in state %s", application, state), false
	if w.pid != pid {
		w.pid, w.since = pid, time.Now()
	}
	if state != "streaming" {
		w.mark = mark
		return false, w.mark, nil
	}
	return time.Since(w.since) >= min(renaming, w.e.Timeout), w.mark, nil
}

func (w *walsenderWait) expired() error {
	if w.wrong {
		return misnamed{errors.New(w.last)}
	}
	return stillness{fmt.Errorf("not streaming, and no progress for %s: %s", w.e.Timeout, w.last)}
}

// naming is what to do about a misnamed one.
func (e *AwaitStreaming) naming() string {
	return fmt.Sprintf("primary_conninfo of %s has to lead to %s, with application_name=%s; before 13 a change of it counts from the next start on: pgrepctl apply --restart=rolling", e.Host, e.Upstream, e.Application)
}
