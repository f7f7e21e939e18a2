package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// Found is a run with its journal: that of this machine or, where the primary has
// more of it, the copy there.
type Found struct {
	journal.Summary
	Records []journal.Record

	here []byte // the journal of this machine, nil if it has none
	copy []byte // the copy on the primary, nil if there is none
	// asked: the primary was asked for the copy.
	asked bool
}

// adopts reports whether the copy on the primary tells of more than the journal
// of this machine: another operator went on with the run, or this machine never
// had it.
func (f *Found) adopts() bool { return f.copy != nil && !bytes.HasPrefix(f.here, f.copy) }

// endedElsewhere reports whether somebody else has ended the run: whoever ends it
// removes the copy, and says so before. The copy is made between the first intent
// and whatever follows it, which is a record that says so; where this machine had
// removed it, again when the undo is begun.
func (f *Found) endedElsewhere() bool {
	recs := f.Records
	for i, r := range slices.Backward(recs) {
		if r.Type == journal.Discard {
			recs = recs[i+1:]
			break
		}
	}
	first := slices.IndexFunc(recs, func(r journal.Record) bool { return r.Acts() || r.Type == journal.Undoing })
	return f.asked && !f.Run.NoCopy && f.copy == nil && first >= 0 && first < len(recs)-1
}

// beingUndone reports whether an undo of the run was begun and did not end:
// there is only one way on. One that met a point of no return did end.
func (f *Found) beingUndone() bool {
	undoing := false
	for _, r := range f.Records {
		switch {
		case r.Type == journal.Undoing:
			undoing = true
		case r.Type == journal.End && (r.NoReturn != "" || r.Status == journal.UndoneRun):
			undoing = false
		}
	}
	return undoing
}

// EndedElsewhere reports whether another machine has ended a run that is open
// here. The primary has no copy of its journal.
func (e *Engine) EndedElsewhere(id string) bool {
	f, err := e.here(id)
	if err != nil || f == nil {
		return false
	}
	f.asked = true
	return f.Open() && f.endedElsewhere()
}

// refuseNewer keeps a pgrepctl from a run of a later one, of whose records it would get some
// wrong, or does not know what takes them back.
func (f *Found) refuseNewer() error {
	if f.Run.Format <= journal.Format {
		_, err := owedInverses(f.Records)
		return err
	}
	return foreign(&f.Run, fmt.Errorf("its journal has format %d, and this one knows up to %d", f.Run.Format, journal.Format))
}

// ErrNotKnown is in the tree of an error about a journal that cannot be understood here.
var ErrNotKnown = errors.New("this pgrepctl does not know what is in the journal")

// foreign is about a run whose journal another version wrote, in a way that is not known here.
func foreign(r *journal.Run, err error) error {
	return &fault.Error{Class: fault.Refused, Op: "read the journal of run " + r.ID, Err: fmt.Errorf("%w: it was begun by pgrepctl %s: %w", ErrNotKnown, cmp.Or(r.Version, "of another version"), err),
		State: "nothing was changed by this command",
		Hint:  "type the same command with the pgrepctl that wrote it, or a later one; it was begun by " + r.Operator}
}

func (f *Found) refuseUndone() error {
	if !f.beingUndone() {
		return nil
	}
	return fault.Refuse("", "pgrepctl runs undo "+f.ID, fmt.Errorf("run %s is being taken back, and that did not end", f.ID))
}

// refuseElsewhere keeps a machine that comes back from taking down what others
// have built since.
func (e *Engine) refuseElsewhere(f *Found) error {
	if e.Alone || !f.endedElsewhere() {
		return nil
	}
	primary := e.meets(f.Run)
	return fault.Refuse(primary, "to forget it: pgrepctl runs abandon "+f.ID+"; if nobody else can have ended it: pgrepctl runs resume or undo "+f.ID+" --alone",
		fmt.Errorf("run %s is open here, and %s has no copy of its journal any more: another operator has ended it, or somebody removed the copy", f.ID, primary))
}

// runID is what may be a file's name here, whatever a host says.
var runID = regexp.MustCompile(`^[0-9A-Za-z]+(-[0-9A-Za-z]+)*$`)

// Find looks for a run by its id, here and, unless it ended here, on the primary. To abandon
// it does not count: that ends it here alone, where the primary cannot be asked.
func (e *Engine) Find(ctx context.Context, id string) (*Found, error) {
	if !runID.MatchString(id) {
		return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("%q is no run", id), Hint: "pgrepctl runs list"}
	}
	here, err := e.here(id)
	if err != nil {
		return nil, err
	}
	// One that was abandoned here may have left its copy, for the primary could not be
	// asked, and another machine may have gone on with that.
	if here != nil && here.Over() && here.Status != journal.Abandoned {
		return here, nil
	}
	f, err := e.withCopy(ctx, newWorld(e.Cluster), id, here)
	switch {
	case err == nil && here != nil && here.Over() && !f.adopts():
		return here, nil
	case err != nil && here != nil:
		// What has to be known is asked again under the lock.
		e.Sink.Emit(event.Event{Type: event.Warning, At: e.Now(), Host: e.meets(here.Run), Text: "could not be asked for its copy of the journal: " + err.Error()})
		return here, nil
	case err != nil:
		return nil, fmt.Errorf("run %s is not known on this machine, and to look for it on the primary: %w", id, err)
	case f == nil:
		return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("no run %q of this cluster, neither in %s nor on %s", id, e.Dir, e.Inventory.Primary().Name), Hint: "pgrepctl runs list"}
	}
	return f, nil
}

// here is a run of this machine, nil if it has none of that id.
func (e *Engine) here(id string) (*Found, error) {
	p := filepath.Join(e.Dir, id+".jsonl")
	b, err := os.ReadFile(p)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	recs, whole, err := journal.Parse(p, b)
	if errors.Is(err, journal.ErrNotBegun) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &Found{Summary: journal.Summarize(p, recs), Records: recs, here: b[:whole]}, nil
}

// withCopy adds what the primary has of a run. It returns nil when nobody knows
// the run.
func (e *Engine) withCopy(ctx context.Context, w *world, id string, here *Found) (*Found, error) {
	if here == nil {
		return e.search(ctx, w, id)
	}
	return e.copyOn(ctx, w, e.meets(here.Run), id, here)
}

func (e *Engine) copyOn(ctx context.Context, w *world, on, id string, here *Found) (*Found, error) {
	at, err := e.place(ctx, w, on, id)
	if err != nil {
		return nil, err
	}
	content, err := e.readCopy(ctx, at)
	if err != nil {
		return nil, err
	}
	if here == nil && content == nil {
		return nil, nil
	}
	f := &Found{}
	if here != nil {
		*f = *here
	}
	f.copy, f.asked = content, true
	if !f.adopts() {
		return f, nil
	}
	p := at.on + ":" + at.file
	recs, whole, err := journal.Parse(p, content)
	if err != nil {
		return nil, err
	}
	if recs[0].Run.ID != id || recs[0].Run.Cluster != e.Inventory.Name {
		return nil, fmt.Errorf("%s is the journal of run %s of cluster %s", p, recs[0].Run.ID, recs[0].Run.Cluster)
	}
	f.Summary, f.Records, f.copy = journal.Summarize(p, recs), recs, content[:whole]
	f.On = at.on
	return f, nil
}

// readCopy is the whole lines of a copy, nil if there is none.
func (e *Engine) readCopy(ctx context.Context, at place) ([]byte, error) {
	h, err := e.Cluster.Host(ctx, at.on)
	if err != nil {
		return nil, err
	}
	f, err := h.Files(at.as).Read(ctx, at.file)
	if err != nil {
		return nil, fmt.Errorf("read %s on %s: %w", at.file, at.on, err)
	}
	if !f.Exists {
		return nil, nil
	}
	return f.Data[:bytes.LastIndexByte(f.Data, '\n')+1], nil
}

// unchanged is asked under the lock: what is resumed or undone is what was
// looked at, and shown.
func (e *Engine) unchanged(ctx context.Context, w *world, f *Found) error {
	if !f.Open() {
		return nil
	}
	at, err := e.place(ctx, w, e.meets(f.Run), f.ID)
	if err != nil {
		return err
	}
	now, err := e.readCopy(ctx, at)
	if err != nil {
		return err
	}
	if !f.asked {
		asked := *f
		asked.copy, asked.asked = now, true
		if err := e.refuseElsewhere(&asked); err != nil {
			return err
		}
	}
	if !f.asked && bytes.HasPrefix(f.here, now) {
		f.copy, f.asked = now, true
	}
	if f.asked && bytes.Equal(now, f.copy) {
		return nil
	}
	return goneOnWith(at.on, f.ID)
}

// goneOnWith says that a run is another operator's by now.
func goneOnWith(on, id string) error {
	return fault.Refuse(on, "look with: pgrepctl runs list", fmt.Errorf("another operator went on with run %s meanwhile", id))
}
