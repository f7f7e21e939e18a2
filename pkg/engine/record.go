package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// record writes one record of the journal. An intent is durable here, and then written
// into the copy on the primary, before the act: whichever of the two machines is lost,
// the other one knows of everything that was ever begun.
func (r *run) record(ctx context.Context, rec journal.Record) (int, error) {
	rec, err := r.keep(rec)
	if err != nil || !rec.Acts() {
		return rec.Seq, err
	}
	if err := r.extend(ctx); err != nil {
		_, jerr := r.keep(journal.Record{Type: journal.Failed, Of: rec.Seq, Node: rec.Node, Host: rec.Host, Step: rec.Step, Effect: rec.Effect, Error: err.Error(), Untouched: true})
		return 0, errors.Join(err, jerr)
	}
	return rec.Seq, nil
}

// keep writes a record here.
func (r *run) keep(rec journal.Record) (journal.Record, error) {
	rec, line, err := r.journal.Append(rec)
	if err != nil {
		return rec, err
	}
	r.begun.Take(rec)
	r.mine.Take(rec)
	if rec.Type == journal.Undone {
		r.mine[rec.Seq] = true
	}
	r.report.Begun = len(r.mine) > 0
	r.pending = append(r.pending, line...)
	return rec, nil
}

// acted reports whether the run began to change something.
func (r *run) acted() bool { return len(r.begun) > 0 }

func (r *run) extend(ctx context.Context) error {
	if r.bare {
		return nil
	}
	if err := r.mirrored(ctx); err != nil {
		return err
	}
	made := r.mirror.size == 0
	err := r.mirror.extend(ctx, r.pending)
	r.pending = nil // after a failure the next one begins with the whole of it
	if err == nil && made {
		// What was announced comes after this: should the tool die in it, its journal tells
		// that the copy was there. See endedElsewhere.
		_, err = r.keep(journal.Record{Type: journal.Copied, Host: r.mirror.at.on})
	}
	return err
}

// mirrorAhead starts the process that will write the copy, while others are started and
// asked. What is wrong with it is said when it is needed.
func (r *run) mirrorAhead(ctx context.Context) {
	if r.bare || r.mirror != nil || r.mirrored(ctx) != nil {
		return
	}
	_ = r.mirror.startAhead(ctx)
}

// mirrored makes the mirror, which does nothing yet.
func (r *run) mirrored(ctx context.Context) error {
	if r.mirror != nil {
		return nil
	}
	at, err := r.e.place(ctx, r.world, r.meets, r.id)
	if err != nil {
		return fmt.Errorf("keep a copy of the journal: %w", err)
	}
	r.mirror = &mirror{at: at, journal: r.journal.Path(), dial: r.dial(at)}
	if r.found != nil {
		r.mirror.size = len(r.found.copy)
	}
	return nil
}

// end is the last record. The copy on the primary stays for as long as something
// is owed; and a copy that cannot be removed is itself owed, for others would take
// it for an interrupted run: such a run stays open, whatever it came to, unless it
// is abandoned.
func (r *run) end(ctx context.Context, status journal.Status, cause error) error {
	closing, stop := r.closing(ctx)
	defer stop()
	closing, cancel := context.WithTimeout(closing, closeTimeout)
	defer cancel()
	rec := journal.Record{Type: journal.End, NoReturn: r.stuck}
	var errs []error
	owed := journal.Summary{Status: status, Acted: r.acted()}.Open()
	left := r.found != nil && r.found.CopyLeft
	if !owed && !r.bare && !r.taken && (r.acted() || left || r.mirror.leaves()) {
		err := r.discard(closing, status)
		if err != nil && status == journal.Abandoned {
			r.unkept(err)
		} else if err != nil {
			status, owed, cause = journal.FailedRun, true, errors.Join(cause, err)
			rec.CopyLeft = true
			errs = append(errs, err)
		}
	}
	r.report.Status = status
	rec.Status = status
	if cause != nil {
		rec.Error = cause.Error()
	}
	_, err := r.record(closing, rec)
	errs = append(errs, err)
	if r.mirror != nil {
		if owed {
			r.unkept(r.mirror.flush(closing, r.pending))
		}
		r.unkept(r.mirror.stop(closing))
	}
	return errors.Join(append(errs, r.journal.Close())...)
}

// ErrCopyLeft says that a run did all it had to, and could not remove the copy of
// its journal.
var ErrCopyLeft = errors.New("the copy of its journal cannot be removed")

// discard takes the copy away, having said so: a copy that is gone from under an
// open journal else means that another operator has ended the run.
func (r *run) discard(ctx context.Context, status journal.Status) error {
	if _, err := r.record(ctx, journal.Record{Type: journal.Discard}); err != nil {
		return err
	}
	err := r.mirrored(ctx)
	if err == nil {
		err = r.mirror.remove(ctx)
	}
	if err == nil {
		return nil
	}
	verb := "resume"
	if status == journal.UndoneRun {
		verb = "undo"
	}
	return &fault.Error{Class: fault.ClassOf(err), Host: r.meets, Op: "end run " + r.id, Err: fmt.Errorf("%w: %w", ErrCopyLeft, err),
		State: "all is done, but the copy of the run's journal, by which others take it for an interrupted one",
		Hint:  "when the host can be reached: pgrepctl runs " + verb + " " + r.id}
}

// unkept warns of a copy that could not be brought up to date: that is for others
// to know, and no failure of what was to be done.
func (r *run) unkept(err error) {
	if err == nil {
		return
	}
	var f *fault.Error
	name := ""
	if errors.As(err, &f) {
		name = f.Host
	}
	r.emit(event.Event{Type: event.Warning, Host: name, Text: err.Error()})
}
