// Package journal is the durable memory of runs: one file a run, one JSON
// object a line, fsynced before the act that it announces. It holds no secret.
package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Type of a record.
type Type string

const (
	Start   Type = "start"   // the first record: what was asked, by whom
	Open    Type = "open"    // a bracket's opening begins
	Close   Type = "close"   // a bracket was closed; nothing of it is owed any more
	Noop    Type = "noop"    // a node had nothing to do; Text says why
	Intent  Type = "intent"  // an act is about to happen; Inverse undoes it
	Done    Type = "done"    // the act of record Of happened
	Failed  Type = "failed"  // the act of record Of, or the planning of Node, failed
	Note    Type = "note"    // what the act of record Of found out in the middle, in Output, before it goes on
	Settle  Type = "settle"  // a reload or restart is owed to Host
	Copied  Type = "copied"  // the copy on the primary is there; before, it was not
	Undoing Type = "undoing" // the run is being taken back: what it found out counts no more
	Undone  Type = "undone"  // the inverse of record Of was run
	Discard Type = "discard" // nothing is owed: the copy on the primary is about to be removed
	End     Type = "end"     // the run ended; Status says how
)

// Status of a run.
type Status string

const (
	Running     Status = "interrupted" // no end record: the tool died, or still runs
	Succeeded   Status = "done"
	FailedRun   Status = "failed"
	UndoneRun   Status = "undone"
	Interrupted Status = "stopped"   // by the operator, at a safe place
	Abandoned   Status = "abandoned" // by the operator, with what it did left as it is
	// Going and Elsewhere are in no record: who looks at a run finds them out.
	Going     Status = "going on"
	Elsewhere Status = "ended elsewhere" // on another machine: the copy on the primary is gone
)

// Record is one line.
type Record struct {
	Seq      int               `json:"seq"`
	At       time.Time         `json:"at"`
	Type     Type              `json:"type"`
	Node     string            `json:"node,omitempty"`
	Host     string            `json:"host,omitempty"`
	Step     string            `json:"step,omitempty"`
	Effect   string            `json:"effect,omitempty"`
	Text     string            `json:"text,omitempty"`
	Of       int               `json:"of,omitempty"`
	Inverse  json.RawMessage   `json:"inverse,omitempty"`
	NoReturn string            `json:"no_return,omitempty"`
	Claim    string            `json:"claim,omitempty"`
	Bracket  string            `json:"bracket,omitempty"` // the node at whose end it is taken back, though inside of it
	Output   map[string]string `json:"output,omitempty"`
	Error    string            `json:"error,omitempty"`
	// Untouched: the act that failed is known not to have happened.
	Untouched bool   `json:"untouched,omitempty"`
	Status    Status `json:"status,omitempty"`
	// CopyLeft: at the end, the copy on the primary could not be removed.
	CopyLeft bool `json:"copy_left,omitempty"`
	Run      *Run `json:"run,omitempty"`
}

// Run is what the first record says.
type Run struct {
	ID        string            `json:"id"`
	Cluster   string            `json:"cluster"`
	Inventory string            `json:"inventory"`
	Plan      string            `json:"plan"`      // name
	PlanText  string            `json:"plan_text"` // the plan file itself: a resume runs what was begun
	Vars      map[string]string `json:"vars"`
	// Meets is the host that has the cluster lock and the copy of the journal;
	// empty is the primary.
	Meets    string   `json:"meets,omitempty"`
	Operator string   `json:"operator"`
	Accept   []string `json:"accept,omitempty"` // checks that the user skipped by name
	Version  string   `json:"version"`          // of pgrepctl
	// NoCopy: no copy of the journal is kept anywhere.
	NoCopy bool `json:"no_copy,omitempty"`
	// Format is that of the records, 0 before there was a number.
	Format int `json:"journal_format,omitempty"`
}

// Format is what Create writes. A new number is for what an earlier pgrepctl would get wrong
// in a resume or an undo: a record of a new type, say, that says what is owed.
const Format = 1

// Journal appends to one run's file.
type Journal struct {
	f    *os.File
	seq  int
	now  func() time.Time
	path string
}

// Create begins a run's journal below dir.
func Create(dir string, run Run, now func() time.Time) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	p := filepath.Join(dir, run.ID+".jsonl")
	f, err := os.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	if err := own(f); err != nil {
		return nil, errors.Join(fmt.Errorf("create journal: %w", err), f.Close())
	}
	j := &Journal{f: f, now: now, path: p}
	run.Format = Format
	if _, _, err := j.Append(Record{Type: Start, Run: &run}); err != nil {
		return nil, err
	}
	return j, syncDir(dir)
}

// Reopen continues one, after an interruption. A torn last line is cut off:
// what it announced was not done, because it was not yet durable.
func Reopen(p string, now func() time.Time) (*Journal, []Record, error) {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	if err := own(f); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	recs, whole, err := read(p)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(whole); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open journal: %w", err), f.Close())
	}
	return &Journal{f: f, seq: len(recs), now: now, path: p}, recs, nil
}

// announces reports whether something happens because of the record. What only
// tells of something that has happened is durable with the next one that does: a
// resume or an undo that does not know of it does it again, harmlessly.
func (r Record) announces() bool {
	switch r.Type {
	case Done, Undone, Noop, Open, Close:
		return false
	}
	return true
}

// Append writes one record, and returns it as it was numbered, and its line, when
// that is durable if it announces something. What a failed write left behind is cut off again, so that a full disk
// makes the run stop and never its journal unreadable.
func (j *Journal) Append(r Record) (Record, []byte, error) {
	r.Seq, r.At = j.seq+1, j.now().UTC()
	line, err := json.Marshal(r)
	if err != nil {
		return r, nil, fmt.Errorf("journal: %w", err)
	}
	line = append(line, '\n')
	before, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return r, nil, fmt.Errorf("journal %s: %w", j.path, err)
	}
	_, err = j.f.Write(line)
	if err == nil && r.announces() {
		err = j.f.Sync()
	}
	if err != nil {
		return r, nil, errors.Join(fmt.Errorf("journal %s: %w", j.path, err), j.f.Truncate(before))
	}
	j.seq = r.Seq
	return r, line, nil
}

// Adopt makes content, which was found on a host, the journal of a run below
// dir, in place of what dir may have of that run.
func Adopt(dir, id string, content []byte, now func() time.Time) (*Journal, []Record, error) {
	recs, whole, err := Parse(id, content)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("adopt journal: %w", err)
	}
	p := filepath.Join(dir, id+".jsonl")
	if busy, err := Busy(p); err == nil && busy {
		return nil, nil, ErrBusy
	}
	// Whole, or not at all: a part of it could look like a run that owes nothing.
	f, err := os.CreateTemp(dir, "."+id+"-*")
	if err != nil {
		return nil, nil, fmt.Errorf("adopt journal: %w", err)
	}
	err = own(f)
	if err == nil {
		_, err = f.Write(content[:whole])
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("adopt journal %s: %w", p, err), f.Close(), os.Remove(f.Name()))
	}
	return &Journal{f: f, seq: len(recs), now: now, path: p}, recs, syncDir(dir)
}

// Path of the file.
func (j *Journal) Path() string { return j.path }

// Close ends writing.
func (j *Journal) Close() error { return j.f.Close() }

// ErrNotBegun is a file whose start record is not whole: the tool died before
// it could begin the run, so nothing was done, and nothing is owed.
var ErrNotBegun = errors.New("the run was not begun: there is no whole record")

// Read returns a run's records.
func Read(p string) ([]Record, error) {
	recs, _, err := read(p)
	return recs, err
}

func read(p string) (recs []Record, whole int64, err error) {
	b, err := os.ReadFile(p)
	if err != nil {
		return nil, 0, fmt.Errorf("read journal: %w", err)
	}
	return Parse(p, b)
}

// Parse reads the records of a journal's content, and says how many bytes of it
// are whole lines. p names it in errors.
func Parse(p string, b []byte) (recs []Record, whole int64, err error) {
	sc := bufio.NewReader(bytes.NewReader(b))
	for n := 1; ; n++ {
		line, err := sc.ReadBytes('\n')
		if err != nil {
			break // end, or a last line that was torn by a crash
		}
		var r Record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, 0, fmt.Errorf("read journal %s:%d: %w", p, n, err)
		}
		if r.Seq != n {
			return nil, 0, fmt.Errorf("read journal %s:%d: record %d out of order", p, n, r.Seq)
		}
		whole += int64(len(line))
		recs = append(recs, r)
	}
	if len(recs) == 0 {
		return nil, 0, fmt.Errorf("read journal %s: %w", p, ErrNotBegun)
	}
	if recs[0].Type != Start || recs[0].Run == nil {
		return nil, 0, fmt.Errorf("read journal %s: it does not begin with a start record", p)
	}
	return recs, whole, nil
}

// Summary of a run.
type Summary struct {
	Run
	Path    string    `json:"path"`
	Status  Status    `json:"status"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	Records int       `json:"records"`
	// Acted: it began to change something, as far as is known.
	Acted bool `json:"acted"`
	// CopyLeft: its copy is still on the primary, as far as is known.
	CopyLeft bool `json:"copy_left,omitempty"`
	// On is the host that the journal was found on, empty for this machine.
	On string `json:"on,omitempty"`
}

// Open reports whether the run still owes something: it began to change
// something, or left the copy of its journal, and neither succeeded nor was undone.
func (s Summary) Open() bool { return (s.Acted || s.CopyLeft) && !s.Over() }

// Over reports whether the run ended in a way that owes nothing.
func (s Summary) Over() bool {
	return s.Status == Succeeded || s.Status == UndoneRun || s.Status == Abandoned
}

// Acts reports whether the record announces an act that changes something.
func (r Record) Acts() bool { return r.Type == Intent && !r.Locks() }

// Begun are the acts that a run has begun, by the number of their intents, but
// for those that are known not to have happened.
type Begun map[int]bool

// Take notes what a record says of an act.
func (b Begun) Take(r Record) {
	switch {
	case r.Acts():
		b[r.Seq] = true
	case r.Untouched:
		delete(b, r.Of)
	}
}

// Locks reports whether the record is of the cluster lock, which changes nothing
// and is gone with its session.
func (r Record) Locks() bool { return r.Effect == "take-lock" || r.Effect == "release-lock" }

// Summarize reads the state of a run off its records.
func Summarize(p string, recs []Record) Summary {
	s := Summary{Run: *recs[0].Run, Path: p, Status: Running, Started: recs[0].At, Records: len(recs)}
	begun := Begun{}
	for _, r := range recs {
		s.Ended = r.At
		begun.Take(r)
		if s.CopyLeft = r.CopyLeft; r.Type == End {
			s.Status = r.Status
		} else {
			s.Status = Running // resumed after an end
		}
	}
	s.Acted = len(begun) > 0
	return s
}

// List returns the runs below dir, oldest first. No directory is no runs.
func List(dir string) ([]Summary, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var out []Summary
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".jsonl") {
			continue
		}
		p := filepath.Join(dir, e.Name())
		recs, err := Read(p)
		if errors.Is(err, ErrNotBegun) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, Summarize(p, recs))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("fsync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("fsync %s: %w", dir, err)
	}
	return nil
}

// Forget removes the runs of one inventory file below dir: those of a lab that
// was taken down, above all, which nobody can resume any more.
func Forget(dir, inventory string) error {
	runs, err := List(dir)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if r.Inventory != inventory {
			continue
		}
		if err := os.Remove(r.Path); err != nil {
			return fmt.Errorf("forget run %s: %w", r.ID, err)
		}
	}
	return nil
}
