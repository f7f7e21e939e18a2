package effect_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func wantFault(t *testing.T, err error, text string, class fault.Class) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if err.Error() != text {
		t.Errorf("got  %s\nwant %s", err, text)
	}
	if got := fault.ClassOf(err); got != class {
		t.Errorf("class %d, want %d", got, class)
	}
}

func TestWriteFileRefusesWhatSomebodyElseEdited(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	fs.Put(hba, "postgres", 0o640, "edited")
	_, err := edit("new")(before).Do(t.Context(), in)
	wantFault(t, err, "pg1: write /etc/pg_hba.conf: write /etc/pg_hba.conf: file changed since it was read", fault.Refused)
	if !errors.Is(err, host.ErrChanged) || !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("%v does not say what happened", err)
	}
	if got, _ := fs.Get(hba); got != "edited" {
		t.Errorf("the other's edit is lost: %q", got)
	}
}

func TestRestoreFileRefusesWhatSomebodyElseEdited(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := edit("new")(before)
	do(t, e, in)
	fs.Put(hba, "postgres", 0o640, "edited")
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: restore /etc/pg_hba.conf: somebody else changed it after the run", fault.Refused)
}

func TestRemoveFileRefusesWhatSomebodyElseEdited(t *testing.T) {
	t.Parallel()
	fs, before := tree(nil)
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := edit("new")(before)
	do(t, e, in)
	fs.Put(hba, "postgres", 0o640, "edited")
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: remove /etc/pg_hba.conf: somebody else changed it after the run", fault.Refused)
}

func TestOwnFileIsReplacedWhateverItHolds(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{hba: "left by a run that died"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := &effect.WriteFile{Host: "pg1", As: "postgres", Path: hba, Data: []byte("mine"), Mode: 0o600, Own: true}
	do(t, e, in)
	if got, _ := fs.Get(hba); got != "mine" {
		t.Errorf("got %q", got)
	}
	do(t, e.Inverse(), in)
	if fs.Has(hba) {
		t.Error("it is still there")
	}
}

func TestABadVerdictPutsTheFileBack(t *testing.T) {
	t.Parallel()
	const check = "run /usr/bin/postgres -D /etc -C port as postgres"
	v15 := postgres.MakeVersion(15)
	const ask = "query select coalesce(f.sourcefile…"
	for _, c := range []struct {
		name  string
		files map[string]string
		judge effect.Judge
		calls []hosttest.Call
		want  string
	}{
		{"of postgres -C", map[string]string{hba: "old"}, effect.Judge{},
			[]hosttest.Call{{Do: check, Err: exit(1, "LOG:  noise\nFATAL:  bad value\n")}},
			"pg1: edit /etc/pg_hba.conf: PostgreSQL refuses the file: LOG:  noise\nFATAL:  bad value"},
		{"of the server", map[string]string{hba: "old"}, effect.Judge{Running: true, Version: v15},
			[]hosttest.Call{{Do: check, Out: "5432\n"}, {Do: "connect"}, {Do: ask, Out: `[{"file":"/etc/pg_hba.conf","line":3,"message":"invalid CIDR mask"}]`}},
			"pg1: edit /etc/pg_hba.conf: the server refuses the file: /etc/pg_hba.conf:3: invalid CIDR mask"},
		{"on a new file", nil, effect.Judge{},
			[]hosttest.Call{{Do: check, Err: exit(1, "FATAL:  bad value\n")}},
			"pg1: edit /etc/pg_hba.conf: PostgreSQL refuses the file: FATAL:  bad value"},
		{"that could not be heard", map[string]string{hba: "old"}, effect.Judge{Running: true, Version: v15},
			[]hosttest.Call{{Do: check}, {Do: "connect", Err: errors.New("cut off")}},
			"pg1: edit /etc/pg_hba.conf: cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, before := tree(c.files)
			in := newEnv(hosttest.NewScript(t, "pg1", fs, c.calls...))
			start := fs.Dump("/etc")
			e := edit("new")(before).(*effect.WriteFile)
			c.judge.Postgres, c.judge.ConfigDir, c.judge.As = "/usr/bin/postgres", "/etc", "postgres"
			e.Judge = &c.judge
			_, err := e.Do(t.Context(), in)
			wantFault(t, err, c.want, fault.Failed)
			if diff := cmp.Diff(start, fs.Dump("/etc")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAGoodVerdictKeepsTheFile(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(hosttest.NewScript(t, "pg1", fs, hosttest.Call{Do: "run postgres -D /etc -C port"}, hosttest.Call{Do: "connect"}, hosttest.Call{Do: "query select coalesce(f.sourcefile…"}))
	e := edit("new")(before).(*effect.WriteFile)
	e.Judge = &effect.Judge{Postgres: "postgres", ConfigDir: "/etc", Running: true, Version: postgres.MakeVersion(15)}
	do(t, e, in)
	if got, _ := fs.Get(hba); got != "new" {
		t.Errorf("got %q", got)
	}
}

func TestImageKeepsTheOldBytesPrivate(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old " + canary})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	do(t, edit("new")(before), in)
	got := fs.Dump("/var/lib/postgresql/.pgrepctl")
	if !strings.Contains(got, "drwx------") || !strings.Contains(got, "-rw------- 26 \"old "+canary+"\"") {
		t.Errorf("got %s", got)
	}
}

func TestSensitiveFilesShowNoDiff(t *testing.T) {
	t.Parallel()
	e := &effect.WriteFile{Path: "/x", Data: []byte(canary), Before: host.File{Exists: true, Data: []byte("old " + canary)}, Sensitive: true}
	if d := e.Describe(); d.Diff != "" || strings.Contains(d.String(), canary) {
		t.Errorf("got %+v", d)
	}
}

func TestDescribeShowsTheDiff(t *testing.T) {
	t.Parallel()
	_, before := tree(map[string]string{hba: "one\ntwo\n"})
	d := edit("one\n2\n")(before).Describe()
	if diff := cmp.Diff("--- /etc/pg_hba.conf\n+++ /etc/pg_hba.conf\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n", d.Diff); diff != "" {
		t.Error(diff)
	}
	if d.String() != "edit /etc/pg_hba.conf" {
		t.Error(d.String())
	}
}

func TestMakeDirsMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{"/data/base/1/x": ""})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	do(t, &effect.MakeDirs{Host: "pg1", As: "postgres", In: "/data", Names: []string{"base", "pg_wal", "pg_wal/archive_status"}, Mode: 0o700}, in)
	if !fs.Has("/data/pg_wal/archive_status") || !fs.Has("/data/base/1/x") {
		t.Error(fs.Dump("/data"))
	}
}

// known is the world of a preview.
type known map[string]*facts.Host

func (k known) Known(name string) *facts.Host { return k[name] }

func TestPredictionsAreWhatDoMakesTrue(t *testing.T) {
	t.Parallel()
	h := facts.New("pg1", nil)
	h.Data.PID, h.Server.Running = 7, true
	w := known{"pg1": h}
	effects := []effect.Effect{
		edit("new")(nil),
		&effect.SQL{Host: "pg1", Change: effect.Change{SetSlot: &facts.Slot{Name: "pg2"}, SetRole: &facts.Role{Name: "r", Exists: true}}},
		&effect.AwaitStreaming{Host: "pg1", Upstream: "pg1", Application: "pg2"},
	}
	for _, e := range effects {
		e.Predict(w)
		e.Predict(known{}) // a host that nobody asked for
	}
	f, _ := h.File(t.Context(), "postgres", hba)
	role, _ := h.Role(t.Context(), "r")
	_, slot := h.Server.Slot("pg2")
	sender, _ := h.Server.Sender("pg2")
	if string(f.Data) != "new" || !role.Exists || !slot || sender.State != "streaming" {
		t.Errorf("file %q, role %v, slot %v, sender %v", f.Data, role.Exists, slot, sender)
	}
	(&effect.SQL{Host: "pg1", Change: effect.Change{DropSlot: "pg2"}}).Predict(w)
	(&effect.RemoveFile{Host: "pg1", As: "postgres", Path: hba}).Predict(w)
	(&effect.Service{Host: "pg1", Action: "stop"}).Predict(w)
	f, _ = h.File(t.Context(), "postgres", hba)
	if _, slot = h.Server.Slot("pg2"); slot || f.Exists || h.Server.Running || h.Data.PID != 0 {
		t.Errorf("slot %v, file %v, running %v", slot, f.Exists, h.Server.Running)
	}
	(&effect.Service{Host: "pg1", Action: "start", Expect: effect.ExpectStandby}).Predict(w)
	if !h.Server.Running || !h.Server.InRecovery {
		t.Error("not running in recovery")
	}
}

func TestAnOldServerIsAskedOnlyForWhatItKnowsOfItsFiles(t *testing.T) {
	t.Parallel()
	for major, asked := range map[string]string{"9.4": "", "9.6": "pg_file_settings", "10": "pg_hba_file_rules"} {
		v, err := postgres.ParseVersion(major)
		if err != nil {
			t.Fatal(err)
		}
		calls := []hosttest.Call{{Do: "run postgres -D /etc -C port"}}
		if q, ok := v.ConfigErrorsQuery(); ok {
			calls = append(calls, hosttest.Call{Do: "connect"}, hosttest.Call{Do: "query " + q})
			if !strings.Contains(q, asked) || major == "9.6" && strings.Contains(q, "pg_hba_file_rules") {
				t.Errorf("%s is asked %s", major, q)
			}
		} else if asked != "" {
			t.Errorf("%s is asked nothing", major)
		}
		fs, before := tree(map[string]string{hba: "old"})
		e := edit("new")(before).(*effect.WriteFile)
		e.Judge = &effect.Judge{Postgres: "postgres", ConfigDir: "/etc", Running: true, Version: v}
		do(t, e, newEnv(hosttest.NewScript(t, "pg1", fs, calls...)))
	}
}

// Its inverse would be refused for ever, and everything before it would stay.
func TestAnEditThatKeepsNoBytesFromBeforeIsNotDone(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	e := edit("new")(before).(*effect.WriteFile)
	e.Image = ""
	if _, err := e.Do(t.Context(), newEnv(disk{hosttest.NewScript(t, "pg1", fs)})); !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
	if got, _ := fs.Get(hba); got != "old" {
		t.Errorf("it was written: %q", got)
	}
}

// A later copy filled the directory, and was taken back before: it was empty when that began.
func TestRestoreFileOfADirectoryThatWasEmptiedHasNothingToDo(t *testing.T) {
	t.Parallel()
	for name, gone := range map[string][]string{"emptied": {"/data/pg_hba.conf"}, "removed": {"/data/pg_hba.conf", "/data"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const file = "/data/pg_hba.conf"
			fs, before := tree(map[string]string{file: "old"})
			in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
			e := &effect.WriteFile{Host: "pg1", As: "postgres", Path: file, Before: before[file], Data: []byte("new"), Image: image}
			do(t, e, in)
			for _, p := range gone {
				fs.Delete(p)
			}
			do(t, e.Inverse(), in)
			if fs.Has(file) {
				t.Error("it is there again")
			}
		})
	}
}

func TestRestoreFileRefusesWhenTheFileAloneIsGone(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old", "/etc/postgresql.conf": "x"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := edit("new")(before)
	do(t, e, in)
	fs.Delete(hba)
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: restore /etc/pg_hba.conf: somebody else changed it after the run", fault.Refused)
}
