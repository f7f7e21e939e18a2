package journal

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func clock() time.Time {
	return time.Date(2026, 11, 22, 5, 0, 0, 0, time.FixedZone("CET", 3600))
}

func create(t *testing.T, dir, id string) *Journal {
	t.Helper()
	j, err := Create(dir, Run{ID: id, Cluster: "shop", Plan: "bootstrap-standby", Vars: map[string]string{"standby": "pg2"}, Operator: "anna@desk"}, clock)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func write(t *testing.T, j *Journal, recs ...Record) {
	t.Helper()
	for _, r := range recs {
		if _, _, err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	j := create(t, dir, "run1")
	intent := Record{Type: Intent, Node: "1@pg1", Host: "pg1", Step: "slot", Effect: "sql", Text: "create slot", Inverse: json.RawMessage(`{"kind":"sql"}`), Claim: "slot pg2"}
	write(t, j, intent, Record{Type: Done, Of: 2, Output: map[string]string{"a": "line\nbreak"}}, Record{Type: Failed, Of: 2, Error: "no", Untouched: true})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	recs, err := Read(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	intent.Seq, intent.At = 2, clock().UTC()
	if diff := cmp.Diff(intent, recs[1]); diff != "" {
		t.Error(diff)
	}
	if len(recs) != 4 || recs[2].Output["a"] != "line\nbreak" || !recs[3].Untouched || recs[0].Run.Operator != "anna@desk" {
		t.Errorf("got %+v", recs)
	}
}

func TestJournalIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "runs")
	j := create(t, dir, "run1")
	defer j.Close()
	for p, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, j.Path(): 0o600} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
}

func TestOneIDIsOneRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	defer create(t, dir, "run1").Close()
	if _, err := Create(dir, Run{ID: "run1"}, clock); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
}

// torn is a journal whose last bytes are missing.
func torn(t *testing.T, dir string, cut int) string {
	t.Helper()
	j := create(t, dir, "run1")
	write(t, j, Record{Type: Open, Node: "1@pg1"}, Record{Type: Intent, Text: "last"})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(j.Path(), b[:len(b)-cut], 0o600); err != nil {
		t.Fatal(err)
	}
	return j.Path()
}

func TestATornLastLineIsCutOff(t *testing.T) {
	t.Parallel()
	for _, cut := range []int{1, 2, 20} {
		p := torn(t, t.TempDir(), cut)
		recs, err := Read(p)
		if err != nil || len(recs) != 2 {
			t.Fatalf("cut by %d: %d records, %v", cut, len(recs), err)
		}
		j, recs, err := Reopen(p, clock)
		if err != nil || len(recs) != 2 {
			t.Fatalf("cut by %d: %d records, %v", cut, len(recs), err)
		}
		write(t, j, Record{Type: End, Status: FailedRun})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		recs, err = Read(p)
		if err != nil || len(recs) != 3 || recs[2].Seq != 3 || recs[2].Type != End {
			t.Errorf("cut by %d: got %+v, %v", cut, recs, err)
		}
	}
}

func TestADamagedMiddleIsAnError(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(string) string{
		"a line that is no JSON": func(s string) string { return strings.Replace(s, `{"seq":2`, `{"seq:2`, 1) },
		"a missing line": func(s string) string {
			return strings.Join(append(strings.SplitAfter(s, "\n")[:1], strings.SplitAfter(s, "\n")[2:]...), "")
		},
		"another beginning": func(s string) string { return strings.Replace(s, `"type":"start"`, `"type":"open"`, 1) },
		"no run":            func(s string) string { return strings.Replace(s, `"run":`, `"gone":`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := torn(t, dir, 0)
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(damage(string(b))), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(p); err == nil {
				t.Error("read")
			}
			if _, _, err := Reopen(p, clock); err == nil {
				t.Error("opened again")
			}
			if _, err := List(dir); err == nil {
				t.Error("listed")
			}
		})
	}
}

func TestARunThatNeverBeganIsNoRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"empty.jsonl": "", "torn.jsonl": `{"seq":1,"type":"sta`, "notes.txt": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if runs, err := List(dir); err != nil || len(runs) != 0 {
		t.Errorf("got %v, %v", runs, err)
	}
	if runs, err := List(filepath.Join(dir, "none")); err != nil || runs != nil {
		t.Errorf("got %v, %v", runs, err)
	}
}

func TestStatusIsWhatTheLastRecordSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		recs []Record
		want Status
		open bool
	}{
		{"begun", nil, Running, true},
		{"only locked", []Record{{Type: Intent, Effect: "take-lock"}, {Type: End, Status: FailedRun}}, FailedRun, false},
		{"refused at its first act", []Record{{Type: Intent, Effect: "take-lock"}, {Type: Intent, Effect: "sql"}, {Type: Failed, Of: 3, Untouched: true}, {Type: End, Status: FailedRun}}, FailedRun, false},
		{"ended well", []Record{{Type: End, Status: Succeeded}}, Succeeded, false},
		{"failed", []Record{{Type: End, Status: FailedRun}}, FailedRun, true},
		{"stopped", []Record{{Type: End, Status: Interrupted}}, Interrupted, true},
		{"undone", []Record{{Type: End, Status: FailedRun}, {Type: Undone}, {Type: End, Status: UndoneRun}}, UndoneRun, false},
		{"resumed and cut off", []Record{{Type: End, Status: FailedRun}, {Type: Open}}, Running, true},
		{"undone half", []Record{{Type: End, Status: Succeeded}, {Type: Undone}}, Running, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			j := create(t, dir, "run1")
			begun := []Record{{Type: Intent, Effect: "sql"}}
			if len(c.recs) > 0 && c.recs[0].Type == Intent {
				begun = nil
			}
			write(t, j, append(begun, c.recs...)...)
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			runs, err := List(dir)
			if err != nil || len(runs) != 1 {
				t.Fatalf("got %v, %v", runs, err)
			}
			if runs[0].Status != c.want || runs[0].Open() != c.open || runs[0].Records != len(begun)+len(c.recs)+1 {
				t.Errorf("got %+v", runs[0])
			}
		})
	}
}

func TestRunsAreListedOldestFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, id := range []string{"20261122T041002Z-7f3a", "20251122T041002Z-0000", "20261122T041001Z-ffff"} {
		if err := create(t, dir, id).Close(); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range runs {
		ids = append(ids, r.ID)
	}
	if diff := cmp.Diff([]string{"20251122T041002Z-0000", "20261122T041001Z-ffff", "20261122T041002Z-7f3a"}, ids); diff != "" {
		t.Error(diff)
	}
}

func TestARecordThatIsNotDurableIsAnError(t *testing.T) {
	t.Parallel()
	// A pipe takes the bytes and cannot be synced.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j := &Journal{f: w, now: clock, path: "pipe"}
	if _, _, err := j.Append(Record{Type: Open}); err == nil {
		t.Error("no error of fsync")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Append(Record{Type: Open}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAFailedAppendLeavesAReadableJournal(t *testing.T) {
	t.Parallel()
	j := create(t, t.TempDir(), "run1")
	whole := j.f
	readOnly, err := os.Open(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	j.f = readOnly // as a disk that is full: nothing can be written
	if _, _, err := j.Append(Record{Type: Open, Node: "1"}); err == nil {
		t.Fatal("it was written")
	}
	j.f = whole
	write(t, j, Record{Type: End, Status: FailedRun})
	recs, err := Read(j.Path())
	if err != nil || len(recs) != 2 || recs[1].Seq != 2 {
		t.Errorf("got %v, %v", recs, err)
	}
	if err := errors.Join(readOnly.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}
