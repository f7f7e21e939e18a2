package effect_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

const (
	canary = "canary-secret"
	keys   = "/home/deploy/.ssh/authorized_keys"
	hba    = "/etc/pg_hba.conf"
	image  = "/var/lib/postgresql/.pgrepctl/run1/hba"
)

// reversible is an act, and the files before it.
type reversible struct {
	name  string
	files map[string]string
	acts  func(before map[string]host.File) []effect.Effect
}

func was(before map[string]host.File, p string) host.File {
	if f, ok := before[p]; ok {
		return f
	}
	return host.File{Path: p}
}

func one(e func(map[string]host.File) effect.Effect) func(map[string]host.File) []effect.Effect {
	return func(b map[string]host.File) []effect.Effect { return []effect.Effect{e(b)} }
}

func addLine(mark string) effect.Effect {
	return &effect.AddLine{Host: "pg1", Path: keys, Line: "restrict,command=\"x\" ssh-ed25519 " + canary + " " + mark, Mark: mark, Mode: 0o600, What: "key"}
}

func edit(after string) func(map[string]host.File) effect.Effect {
	return func(b map[string]host.File) effect.Effect {
		return &effect.WriteFile{Host: "pg1", As: "postgres", Path: hba, Before: was(b, hba), Data: []byte(after), Mode: 0o600, Image: image}
	}
}

func reversibles(t *testing.T) []reversible {
	t.Helper()
	control, err := os.ReadFile("../postgres/testdata/control/15-running.control")
	if err != nil {
		t.Fatal(err)
	}
	oneLine := one(func(map[string]host.File) effect.Effect { return addLine("pgrepctl:run1:pg2:0") })
	return []reversible{
		{"make a file", nil, one(edit("new " + canary + "\n"))},
		{"edit a file", map[string]string{hba: "old " + canary}, one(edit("new\n"))},
		{"edit an empty file", map[string]string{hba: ""}, one(edit("new\n"))},
		{"edit a file to nothing", map[string]string{hba: "old"}, one(edit(""))},
		{"edit a file and its mode", map[string]string{hba: "old"}, one(func(b map[string]host.File) effect.Effect {
			e := edit("old")(b).(*effect.WriteFile)
			e.Mode, e.SetMode = 0o600, true
			return e
		})},
		{"edit a file twice", map[string]string{hba: "one"}, func(b map[string]host.File) []effect.Effect {
			second := host.File{Path: hba, Exists: true, Data: []byte("two"), Mode: 0o640, UID: 26, GID: 26}
			return []effect.Effect{edit("two")(b), edit("three")(map[string]host.File{hba: second})}
		}},
		{"edit a secret file", map[string]string{hba: "old " + canary}, one(editSecret("new " + canary))},
		{"edit a secret file and its mode", map[string]string{hba: canary}, one(func(b map[string]host.File) effect.Effect {
			e := editSecret(canary)(b).(*effect.WriteFile)
			e.SetMode = true
			return e
		})},
		{"edit a secret file twice", map[string]string{hba: "one"}, func(b map[string]host.File) []effect.Effect {
			return []effect.Effect{editSecret("two")(b), editSecret("three")(written("two"))}
		}},
		{"make a directory", nil, one(func(map[string]host.File) effect.Effect {
			return &effect.MakeDir{Host: "pg1", Path: "/dev/shm/pgrepctl-run1", Mode: 0o700}
		})},
		{"make a directory with a key", nil, func(b map[string]host.File) []effect.Effect {
			return []effect.Effect{
				&effect.MakeDir{Host: "pg1", As: "postgres", Path: "/dev/shm/pgrepctl-run1", Mode: 0o700},
				&effect.WriteFile{Host: "pg1", As: "postgres", Path: "/dev/shm/pgrepctl-run1/key0", Before: was(b, "/dev/shm/pgrepctl-run1/key0"), Data: []byte(canary), Mode: 0o600, Sensitive: true, What: "private key"},
			}
		}},
		{"add a line", map[string]string{keys: "one\ntwo\n"}, oneLine},
		{"add a line behind one without newline", map[string]string{keys: "one\ntwo"}, oneLine},
		{"add a line to an empty file", map[string]string{keys: ""}, oneLine},
		{"add a line to a file of one newline", map[string]string{keys: "\n"}, oneLine},
		{"add a line to no file", nil, oneLine},
		{"add lines behind one without newline", map[string]string{keys: "one"}, func(map[string]host.File) []effect.Effect {
			return []effect.Effect{addLine("pgrepctl:run1:pg2:1"), addLine("pgrepctl:run1:pg2:10")}
		}},
		{"add lines to no file", nil, func(map[string]host.File) []effect.Effect {
			return []effect.Effect{addLine("pgrepctl:run1:pg2:1"), addLine("pgrepctl:run1:pg2:10")}
		}},
		{"rename", map[string]string{"/data/global/pending": "control"}, one(func(map[string]host.File) effect.Effect {
			return &effect.Rename{Host: "pg1", As: "postgres", From: "/data/global/pending", To: "/data/global/pg_control"}
		})},
		{"fetch pg_control", map[string]string{"/source/global/pg_control": string(control), "/data/global/x": ""}, one(func(map[string]host.File) effect.Effect {
			return &effect.FetchControl{Host: "pg1", As: "postgres", From: "pg1", FromAs: "postgres", Source: "/source", Target: "/data", SystemID: "7710845818950439207"}
		})},
	}
}

// tree has the files of a case.
func tree(files map[string]string) (*hosttest.FS, map[string]host.File) {
	fs := hosttest.NewFS("/etc", "/dev/shm", "/home/deploy/.ssh")
	fs.Dir("/var/lib/postgresql", "postgres", 0o755)
	before := map[string]host.File{}
	for p, data := range files {
		fs.Put(p, "postgres", 0o640, data)
		before[p] = host.File{Path: p, Exists: true, Data: []byte(data), Mode: 0o640, UID: 26, GID: 26}
	}
	return fs, before
}

// takeBack runs the inverses as an undo does: from their journal bytes, last
// first, and at the end the images go.
func takeBack(t *testing.T, acts []effect.Effect, in effect.Env) {
	t.Helper()
	var restored []*effect.RestoreFile
	for i := len(acts) - 1; i >= 0; i-- {
		raw, err := effect.Encode(acts[i].Inverse())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), canary) {
			t.Errorf("the journal holds a secret: %s", raw)
		}
		inv, err := effect.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(acts[i].Inverse().Describe(), inv.Describe()); diff != "" {
			t.Errorf("another inverse came out of the journal:\n%s", diff)
		}
		do(t, inv, in)
		do(t, inv, in) // the tool died before it could note that it had
		if f, ok := inv.(*effect.RestoreFile); ok {
			restored = append(restored, f)
		}
	}
	for _, f := range restored {
		if err := f.DropImage(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

func same(t *testing.T, want string, fs *hosttest.FS) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(fs.Dump("/"), "\n")); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestInverseRestoresByteForByte(t *testing.T) {
	t.Parallel()
	for _, c := range reversibles(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, before := tree(c.files)
			in, start := newEnv(disk{hosttest.NewScript(t, "pg1", fs)}), fs.Dump("/")
			acts := c.acts(before)
			for _, e := range acts {
				do(t, e, in)
			}
			if fs.Dump("/") == start {
				t.Error("nothing was done")
			}
			takeBack(t, acts, in)
			same(t, start, fs)
		})
	}
}

func TestInverseIsHarmlessWhenNothingWasDone(t *testing.T) {
	t.Parallel()
	for _, c := range reversibles(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, before := tree(c.files)
			in, start := newEnv(disk{hosttest.NewScript(t, "pg1", fs)}), fs.Dump("/")
			takeBack(t, c.acts(before)[:1], in)
			same(t, start, fs)
		})
	}
}

func TestInverseMendsAnActThatBrokeOffAnywhere(t *testing.T) {
	t.Parallel()
	for _, c := range reversibles(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for k, more := 1, true; more; k++ {
				fs, before := tree(c.files)
				in, start := newEnv(disk{hosttest.NewScript(t, "pg1", fs)}), fs.Dump("/")
				n, broken := 0, errors.New("connection lost")
				fs.OnChange(func(string, bool) error {
					if n++; n >= k {
						return broken
					}
					return nil
				})
				acts := c.acts(before)
				more = false
				for i, e := range acts {
					if _, err := e.Do(t.Context(), in); err != nil {
						more, acts = true, acts[:i+1]
						break
					}
				}
				fs.OnChange(nil)
				takeBack(t, acts, in)
				same(t, start, fs)
			}
		})
	}
}

func TestEmptyDirectoryTakesAwayWhatACopyBrought(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{"/data/base/1/1259": "x", "/data/PG_VERSION": "15"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	c := &effect.Copy{Host: "pg1", As: "postgres", Into: "/data", Fresh: true}
	takeBack(t, []effect.Effect{c}, in)
	if got := fs.Dump("/data"); got != "" || !fs.Has("/data") {
		t.Errorf("left in it: %s", got)
	}
	takeBack(t, []effect.Effect{c}, in)
	fs.Delete("/data")
	takeBack(t, []effect.Effect{c}, in)
}

func TestEmptyDirectoryRefusesUnderAServer(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{"/data/postmaster.pid": "1"})
	lives := call{Do: "run sh -c read -r pid…"}
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs, lives)})
	_, err := (&effect.Copy{Host: "pg1", Into: "/data", Fresh: true}).Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: empty /data: a server may be running in it", 6)
}

func TestEmptyDirectoryTakesNoStaleFileForAServer(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{"/data/postmaster.pid": "1"})
	in := newEnv(hosttest.NewScript(t, "pg1", fs, call{Do: "run sh -c read -r pid…", Err: exit(1, "")}, call{Do: "run find -H /data" + emptied}))
	do(t, (&effect.Copy{Host: "pg1", Into: "/data", Fresh: true}).Inverse(), in)
}

func TestAPromotedServerThatIsDownIsNotTakenBack(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"promoted":    {map[string]string{"/data/global/pg_control": "x"}, true},
		"a standby":   {map[string]string{"/data/global/pg_control": "x", "/data/standby.signal": ""}, false},
		"half a copy": {map[string]string{"/data/PG_VERSION": "15"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, _ := tree(c.files)
			calls := []call{{Do: "connect", Err: host.ErrNoServer}}
			if !c.want {
				calls = append(calls, call{Do: "run ctl stop"})
			}
			e := service("start", effect.ExpectStandby)
			e.Data, e.DataAs, e.Signal = "/data", "postgres", "standby.signal"
			_, err := e.Inverse().Do(t.Context(), newEnv(hosttest.NewScript(t, "pg1", fs, calls...)))
			if refused := fault.ClassOf(err) == fault.Refused; refused != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCopyOverOldDataIsAPointOfNoReturn(t *testing.T) {
	t.Parallel()
	c := &effect.Copy{Host: "pg2", From: "pg1", Into: "/data"}
	if c.Inverse() != nil || c.Describe().NoReturn == "" {
		t.Error("it says that it can be undone")
	}
	if c.Cleared = true; c.Inverse() != nil || c.Describe().NoReturn != "" {
		t.Error("what is said of the clearing before it is said again")
	}
}

func TestOnlyInversesGoIntoTheJournal(t *testing.T) {
	t.Parallel()
	if _, err := effect.Encode(&effect.Copy{}); err == nil {
		t.Error("a copy was journalled as an inverse")
	}
	for _, raw := range []string{`{"kind":"nuke","effect":{}}`, `{"kind":"remove-file","effect":[]}`, `x`} {
		if _, err := effect.Decode(json.RawMessage(raw)); err == nil {
			t.Errorf("decoded: %s", raw)
		}
	}
}

func TestRemoveLineKeepsWhatOthersWrote(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, before, by, want string }{
		{"behind ours", "one\n", "theirs\n", "one\ntheirs\n"},
		{"behind ours, which had needed a newline", "one", "theirs\n", "one\ntheirs\n"},
		{"in the file that we made", "", "theirs\n", "theirs\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{keys: c.before}
			if c.before == "" {
				files = nil
			}
			fs, _ := tree(files)
			in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
			e := addLine("pgrepctl:run1:pg2:0")
			do(t, e, in)
			now, _ := fs.Get(keys)
			fs.Put(keys, "", 0o600, now+c.by)
			do(t, e.Inverse(), in)
			if got, _ := fs.Get(keys); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAddLineTriesAgainWhenSomebodyElseEdits(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{keys: "one\n"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	n := 0
	fs.OnChange(func(_ string, done bool) error {
		if n++; n <= 2 && !done {
			now, _ := fs.Get(keys)
			fs.Put(keys, "", 0o600, now+"theirs\n")
		}
		return nil
	})
	do(t, addLine("pgrepctl:run1:pg2:0"), in)
	got, _ := fs.Get(keys)
	if !strings.HasPrefix(got, "one\ntheirs\n") || !strings.HasSuffix(got, "pgrepctl:run1:pg2:0\n") {
		t.Errorf("got %q", got)
	}
}

func TestEmptyDirectoryRefusesAPromotedServersData(t *testing.T) {
	t.Parallel()
	fs, _ := tree(map[string]string{"/data/global/pg_control": "x", "/data/PG_VERSION": "15"})
	in := newEnv(disk{hosttest.NewScript(t, "pg1", fs)})
	_, err := (&effect.Copy{Host: "pg1", Into: "/data", Fresh: true}).Inverse().Do(t.Context(), in)
	wantFault(t, err, "pg1: empty /data: it holds a server that is no standby any more", 6)
	if !fs.Has("/data/PG_VERSION") {
		t.Error("it was emptied")
	}
}
