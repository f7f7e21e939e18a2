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
	r.pending = append(r.pending, line...)
	return rec, nil
}

// acted reports whether the run began to change something.
func (r *run) acted() bool { return len(r.begun) > 0 }

func (r *run) extend(ctx context.Context) error {
	if err := r.mirrored(ctx); err != nil {
		return err
	}
	err := r.mirror.extend(ctx, r.pending)
	r.pending = nil // after a failure the next one begins with the whole of it
	return err
}

// mirrored makes the mirror, which does nothing yet.
func (r *run) mirrored(ctx context.Context) error {
	if r.mirror != nil {
		return nil
	}
	at, err := r.e.place(ctx, r.world, r.id)
	if err != nil {
		return fmt.Errorf("keep a copy of the journal: %w", err)
	}
	r.mirror = &mirror{at: at, journal: r.journal.Path(), dial: r.dial(at)}
	return nil
}

// end is the last record. The copy on the primary stays for as long as something
// is owed.
func (r *run) end(ctx context.Context, status journal.Status, cause error) error {
	closing, stop := r.closing(ctx)
	defer stop()
	closing, cancel := context.WithTimeout(closing, closeTimeout)
	defer cancel()
	rec := journal.Record{Type: journal.End, Status: status, NoReturn: r.stuck}
	if cause != nil {
		rec.Error = cause.Error()
	}
	var errs []error
	owed := journal.Summary{Status: status, Acted: r.acted()}.Open()
	if !owed && (r.acted() || r.mirror != nil) {
		errs = append(errs, r.discard(closing))
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

// discard takes the copy away, having said so: a copy that is gone from under an
// open journal else means that another operator has ended the run.
func (r *run) discard(ctx context.Context) error {
	if _, err := r.record(ctx, journal.Record{Type: journal.Discard}); err != nil {
		return err
	}
	if err := r.mirrored(ctx); err != nil {
		r.unkept(err)
		return nil
	}
	r.unkept(r.mirror.remove(ctx))
	return nil
}

// unkept warns of a copy that could not be brought up to date, or removed: that
// is for others to know, and no failure of what was to be done.
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
