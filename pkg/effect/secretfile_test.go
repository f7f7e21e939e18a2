package effect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// A diff has three lines of context, and a file that nobody has called sensitive may have
// a password in one of them.
func TestADiffShowsNoPasswordBesideTheLineThatIsEdited(t *testing.T) {
	t.Parallel()
	const beside = "primary_conninfo = 'user=replicator password=''canary-secret'' host=pg1'\n"
	_, before := tree(map[string]string{hba: "synchronous_standby_names = 'pg2'\n" + beside + "work_mem = '4MB'\n"})
	d := edit("synchronous_standby_names = ''\n" + beside + "work_mem = '4MB'\n")(before).Describe()
	want := "--- /etc/pg_hba.conf\n+++ /etc/pg_hba.conf\n@@ -1,3 +1,3 @@\n-synchronous_standby_names = 'pg2'\n+synchronous_standby_names = ''\n" +
		" primary_conninfo = 'user=replicator password=***\n work_mem = '4MB'\n"
	if diff := cmp.Diff(want, d.Diff); diff != "" {
		t.Error(diff)
	}
}

// What is journalled must be the same whatever the secret is, though the file is not
// called sensitive: from a hash a short one could be guessed.
func TestTheJournalOfAFileWithAPasswordDoesNotDependOnIt(t *testing.T) {
	t.Parallel()
	journalled := func(e effect.Effect) string {
		raw, err := effect.Encode(e.Inverse())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, inverse := range map[string]func(password string) string{
		"it stays":         func(p string) string { return journalled(edit("b\npassword=" + p)(written("a\npassword=" + p))) },
		"it is taken out":  func(p string) string { return journalled(edit("b")(written("a\npassword=" + p))) },
		"it is put in":     func(p string) string { return journalled(edit("a\npassword=" + p)(written("a"))) },
		"the file is made": func(p string) string { return journalled(edit("password=" + p)(nil)) },
	} {
		if diff := cmp.Diff(inverse("hunter2"), inverse("Tr0ub4dor&3")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A retire takes away what may hold a replication password, and the undo of an older run
// would say that it has restored what it has not.
func TestRestoreSaysThatItsImageWasTakenAway(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := editSecret("new")(before)
	do(t, e, in)
	fs.Delete(image)
	fs.Delete(image + ".sums")
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: restore /etc/pg_hba.conf: the run has edited it, and "+image+", with the bytes from before, is gone (standby retire removes what may hold a replication password)", fault.Refused)
	if got, _ := fs.Get(hba); got != "new" {
		t.Errorf("it was changed: %q", got)
	}
	// Of an edit that never began there is no image either, and nothing to put back.
	do(t, e.Inverse(), newEnv(disk{hosttest.NewScript(t, "pg1", fs)}))
}

// marker is the marker of a run, written over that of an earlier one.
func marker(was string) *effect.WriteFile {
	return &effect.WriteFile{Host: "pg1", As: "postgres", Path: "/data/pgrepctl.run", Data: []byte("run2"), Was: was, Mode: 0o600, Own: true, Sensitive: true}
}

func TestAFileOfOurOwnThatWasThereIsWrittenBack(t *testing.T) {
	t.Parallel()
	const name = "/data/pgrepctl.run"
	for what, c := range map[string]struct {
		then func(fs *hosttest.FS) // after the run
		want string
		has  bool
		told bool
	}{
		"nothing happened": {func(*hosttest.FS) {}, "run1", true, false},
		"it never began":   {func(fs *hosttest.FS) { fs.Put(name, "postgres", 0o600, "run1") }, "run1", true, false},
		"the copy came to its end, or was taken back": {func(fs *hosttest.FS) { fs.Delete(name) }, "", false, false},
		"a third run has written its own":             {func(fs *hosttest.FS) { fs.Put(name, "postgres", 0o600, "run3") }, "run3", true, true},
	} {
		fs, _ := tree(map[string]string{name: "run1", "/data/base/1/1259": "x"})
		in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
		do(t, marker("run1"), in)
		c.then(fs)
		takeBack(t, []effect.Effect{marker("run1")}, in)
		if got, has := fs.Get(name); got != c.want || has != c.has || (len(in.warnings) > 0) != c.told {
			t.Errorf("%s: it is there: %t, with %q; told: %q", what, has, got, in.warnings)
		}
	}
}

// Before 10 libpq reads one passfile, of the OS user: what he has added to it since is his.
func TestUndoingThePassfileOfAnOSUserLeavesWhatOthersHaveAdded(t *testing.T) {
	t.Parallel()
	const p, ours, theirs = "/var/lib/postgresql/.pgpass", "10.0.0.11:5432:replication:repl\\:icator:canary-secret\n", "other:5432:*:me:mine\n"
	for after, want := range map[string]string{ours: "", ours + theirs: theirs, theirs + ours: theirs, theirs: theirs, "": ""} {
		fs, _ := tree(nil)
		in := newEnv(disk{hosttest.NewScript(t, "pg2", fs)})
		lines := passfile(false, p).Passfile
		e := &effect.WriteFile{Host: "pg2", As: "postgres", Path: p, Before: host.File{Path: p}, Data: []byte(ours), Mode: 0o600, SetMode: true, Sensitive: true, Lines: &lines}
		do(t, e, in)
		if after == "" {
			fs.Delete(p)
		} else {
			fs.Put(p, "postgres", 0o600, after)
		}
		takeBack(t, []effect.Effect{e}, in)
		if got, has := fs.Get(p); got != want || has != (want != "") {
			t.Errorf("of %q is left: %q, %t", after, got, has)
		}
	}
	if e := passfile(false, p); strings.Contains(e.Inverse().Describe().String(), "canary") {
		t.Error("it is shown")
	}
}
