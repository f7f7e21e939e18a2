package effect_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// editSecret is edit of a file that holds a password.
func editSecret(after string) func(map[string]host.File) effect.Effect {
	return func(b map[string]host.File) effect.Effect {
		e := edit(after)(b).(*effect.WriteFile)
		e.Sensitive = true
		return e
	}
}

func written(text string) map[string]host.File {
	return map[string]host.File{hba: {Path: hba, Exists: true, Data: []byte(text), Mode: 0o640, UID: 26, GID: 26}}
}

// A hash is as good as the secret for whoever can guess: the same bytes must be
// journalled whatever the secret is.
func TestTheJournalOfASecretFileDoesNotDependOnTheSecret(t *testing.T) {
	t.Parallel()
	journalled := func(e effect.Effect) string {
		raw, err := effect.Encode(e.Inverse())
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for name, inverse := range map[string]func(password string) string{
		"changed": func(p string) string { return journalled(editSecret("new " + p)(written("old " + p))) },
		"made":    func(p string) string { return journalled(editSecret("new " + p)(nil)) },
		"ours only": func(p string) string {
			return journalled(&effect.WriteFile{Host: "pg1", Path: hba, Data: []byte(p), Own: true, Sensitive: true})
		},
	} {
		if diff := cmp.Diff(inverse("hunter2"), inverse("Tr0ub4dor&3")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestRestoreOfASecretFileRefusesWhatSomebodyElseEdited(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := editSecret("new")(before)
	do(t, e, in)
	fs.Put(hba, "postgres", 0o640, "edited")
	_, err := e.Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: restore /etc/pg_hba.conf: somebody else changed it after the run", fault.Refused)
}

func TestRestoreOfASecretFileMissesItsImage(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := editSecret("new")(before)
	do(t, e, in)
	fs.Delete(image)
	if _, err := e.Inverse().Do(t.Context(), in); err == nil || !strings.Contains(err.Error(), image+" is missing or damaged") {
		t.Errorf("got %v", err)
	}
}

// An edit that somebody made between two of ours is what an undo goes back to.
func TestImageOfASecretFileIsTheLatestThatIsNotOurs(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	do(t, editSecret("one")(before), in)
	fs.Put(hba, "postgres", 0o640, "theirs")
	do(t, editSecret("two")(written("theirs")), in)
	third := editSecret("three")(written("two"))
	do(t, third, in)
	do(t, third.Inverse(), in)
	if got, _ := fs.Get(hba); got != "theirs" {
		t.Errorf("got %q", got)
	}
}

// A tool that is killed while it keeps the bytes from before leaves a half of them beside.
func TestWhatAKilledToolLeftBesideAnImageGoesWithIt(t *testing.T) {
	t.Parallel()
	fs, before := tree(map[string]string{hba: "old"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	e := edit("new")(before).(*effect.WriteFile)
	inverse := e.Inverse().(*effect.RestoreFile)
	half := func(name string) string {
		at := strings.LastIndex(inverse.Image, "/") + 1
		return inverse.Image[:at] + "." + inverse.Image[at:] + ".pgrepctl-" + name
	}
	fs.Put(half("A"), "postgres", 0o600, "ol")
	do(t, e, in)
	if _, there := fs.Get(half("A")); there {
		t.Error("the edit that was done again has left it")
	}
	fs.Put(half("B"), "postgres", 0o600, "ol")
	do(t, inverse, in)
	if err := inverse.DropImage(t.Context(), in); err != nil {
		t.Error(err)
	}
	if _, there := fs.Get(half("B")); there {
		t.Error("the undo has left it")
	}
}

// A configuration file may be a symlink: it is written at its target, and what a killed tool
// has left is there.
func TestWhatAKilledToolLeftBesideTheTargetOfALinkGoes(t *testing.T) {
	t.Parallel()
	fs, _ := tree(nil)
	files := fs.Files("postgres")
	fs.Put("/srv/conf/real.conf", "postgres", 0o640, "old")
	for link, to := range map[string]string{hba: "/srv/conf/second", "/srv/conf/second": "real.conf"} {
		if err := files.Symlink(t.Context(), to, link); err != nil {
			t.Fatal(err)
		}
	}
	const half, others = "/srv/conf/.real.conf.pgrepctl-A", "/srv/conf/.other.conf.pgrepctl-A"
	fs.Put(others, "postgres", 0o600, "of another file")
	before, err := files.Read(t.Context(), hba)
	if err != nil {
		t.Fatal(err)
	}
	e := edit("new")(map[string]host.File{hba: before})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	for _, act := range []effect.Effect{e, e.Inverse()} { // in this order
		fs.Put(half, "postgres", 0o600, "ne")
		do(t, act, in)
		if fs.Has(half) || !fs.Has(others) {
			t.Errorf("%s: left %t, and what is of another file %t", act.Kind(), fs.Has(half), fs.Has(others))
		}
	}
	if is, err := files.Stat(t.Context(), hba); err != nil || is.Mode.IsRegular() {
		t.Error("the link is one no more", err)
	}
}

func TestALinkToItselfIsNoFile(t *testing.T) {
	t.Parallel()
	fs, before := tree(nil)
	if err := fs.Files("postgres").Symlink(t.Context(), path.Base(hba), hba); err != nil {
		t.Fatal(err)
	}
	_, err := edit("new")(before).Do(t.Context(), newEnv(disk{hosttest.NewScript(t, "pg1", fs)}))
	if err == nil || !strings.Contains(err.Error(), "too many levels of symbolic links") {
		t.Error(err)
	}
}
