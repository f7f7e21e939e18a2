package effect_test

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// emptiers are the acts that empty a data directory, /data, and its /wal.
func emptiers() map[string]effect.Effect {
	return map[string]effect.Effect{
		"clear": &effect.ClearStale{Host: "pg2", As: "postgres", Path: "/data", Dirs: []string{"pg_replslot"}, Files: []string{"backup_label"}},
		"erase": erase(),
		"empty": (&effect.Copy{Host: "pg2", As: "postgres", Into: "/data", Fresh: true, EmptiesWAL: "/wal"}).Inverse(),
	}
}

func fullTree() *hosttest.FS {
	fs := standbyTree()
	for _, p := range []string{"/data/standby.signal", "/data/backup_label", "/data/pg_replslot/old/state"} {
		fs.Put(p, "postgres", 0o600, "x")
	}
	return fs
}

// A supervisor may have started it again since it was stopped.
func TestNothingIsEmptiedUnderAServer(t *testing.T) {
	t.Parallel()
	for verb, e := range emptiers() {
		fs := fullTree()
		fs.Put("/data/postmaster.pid", "postgres", 0o600, "1")
		before := fs.Dump("/")
		_, err := e.Do(t.Context(), newEnv(disk{hosttest.NewScript(t, "pg2", fs, call{Do: "run sh -c read -r pid…"})}))
		wantFault(t, err, "pg2: "+verb+" /data: a server may be running in it", fault.Refused)
		if !errors.Is(err, effect.ErrUntouched) {
			t.Errorf("%s: it says that something was changed", verb)
		}
		same(t, before, fs)
	}
}

// blind is a disk on which somebody may not look at a file.
type blind struct {
	disk
	name string
}

func (b blind) Files(as string) host.Files { return blindFiles{b.disk.Files(as), b.name} }

type blindFiles struct {
	host.Files
	name string
}

func (b blindFiles) Stat(ctx context.Context, p string) (host.Entry, error) {
	if path.Base(p) == b.name {
		return host.Entry{}, iofs.ErrPermission
	}
	return b.Files.Stat(ctx, p)
}

func TestNothingIsEmptiedWhereNobodyCanTellWhetherAServerRuns(t *testing.T) {
	t.Parallel()
	for verb, e := range emptiers() {
		fs := fullTree()
		before := fs.Dump("/")
		_, err := e.Do(t.Context(), newEnv(blind{disk{hosttest.NewScript(t, "pg2", fs)}, "postmaster.pid"}))
		if !errors.Is(err, iofs.ErrPermission) || !errors.Is(err, effect.ErrUntouched) {
			t.Errorf("%s: got %v", verb, err)
		}
		same(t, before, fs)
	}
}

// Of what may be a promoted server nothing is removed unless it is known that it is none.
func TestNothingIsEmptiedWhereNobodyCanTellWhatItIs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"pg_control", "standby.signal", "recovery.conf"} {
		fs := fullTree()
		before := fs.Dump("/")
		_, err := emptiers()["empty"].Do(t.Context(), newEnv(blind{disk{hosttest.NewScript(t, "pg2", fs)}, name}))
		if !errors.Is(err, iofs.ErrPermission) {
			t.Errorf("%s: got %v", name, err)
		}
		same(t, before, fs)
	}
}

// mounted is a disk with a file system at /wal.
type mounted struct {
	disk
	also string // what find cannot delete either
}

func (m mounted) Run(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if c.Argv[0] != "find" || c.Argv[2] != "/wal" {
		return m.disk.Run(ctx, c, stdio)
	}
	var names []string
	m.Walk("/wal", func(p string, _ bool, _ string) { names = append(names, p) })
	for _, p := range slices.Backward(names) {
		if strings.Contains(p, "lost+found") || p == m.also {
			continue
		}
		if err := m.Files(c.As).Remove(ctx, p); err != nil {
			return err
		}
	}
	return &host.ExitError{Cmd: c, Code: 1, Stderr: "find: '/wal/lost+found': Permission denied"}
}

func TestWhatIsLostAndFoundOnAFileSystemIsLeftThere(t *testing.T) {
	t.Parallel()
	for name, e := range emptiers() {
		fs := fullTree()
		fs.Put("/wal/lost+found/#123", "root", 0o600, "of the file system")
		h := mounted{disk{hosttest.NewScript(t, "pg2", fs)}, ""}
		if c, ok := e.(*effect.ClearStale); ok {
			c.Dirs = append(c.Dirs, "../wal")
		}
		for range 2 { // again, as after a crash
			do(t, e, newEnv(h))
		}
		if !fs.Has("/wal/lost+found/#123") || fs.Has("/wal/000000010000000000000001") {
			t.Errorf("%s has left\n%s", name, fs.Dump("/wal"))
		}
	}
}

func TestWhatCannotBeDeletedIsNoEmptyDirectory(t *testing.T) {
	t.Parallel()
	fs := fullTree()
	fs.Dir("/wal/lost+found", "root", 0o700)
	h := mounted{disk{hosttest.NewScript(t, "pg2", fs)}, "/wal/000000010000000000000001"}
	_, err := emptiers()["erase"].Do(t.Context(), newEnv(h))
	wantFault(t, err, "empty /wal: find: exit status 1: find: '/wal/lost+found': Permission denied", fault.Failed)
}

// local runs commands on this machine.
type local struct{ *hosttest.Script }

func (l local) Run(ctx context.Context, c host.Cmd, _ host.Stdio) error {
	return osexec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...).Run()
}

func TestFindEmptiesADirectoryAndLeavesLostAndFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"base/1/1259", "lost+found/#1/x", ".hidden", "not lost+found"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fs := hosttest.NewFS("/")
	fs.Put(dir+"/x", "postgres", 0o600, "") // so that there is something to delete
	do(t, &effect.EmptyDirectory{Host: "pg2", Path: "/none", WAL: dir}, newEnv(local{hosttest.NewScript(t, "pg2", fs)}))
	if left, _ := filepath.Glob(dir + "/*"); !slices.Equal(left, []string{dir + "/lost+found"}) {
		t.Errorf("left: %q", left)
	}
	for _, name := range []string{"lost+found/#1/x", ".hidden"} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (name != ".hidden") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is erased next may be on other file systems, and be gone after a power cut at which
// the removal of pg_control is not: a server would start without its tablespaces.
func TestErasingMakesDurableFirstThatNoServerStarts(t *testing.T) {
	t.Parallel()
	for name, begun := range map[string]bool{"from the start": false, "after one that died before it was synced": true} {
		fs := fullTree()
		if begun {
			fs.Delete("/data/global/pg_control")
		}
		var order []string
		fs.OnChange(func(change string, done bool) error {
			if done && !strings.Contains(change, "pg_control") {
				order = append(order, change)
			}
			return nil
		})
		h := runner{hosttest.NewScript(t, "pg2", fs), nil}
		h.run = func(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
			if c.Argv[0] == "sync" {
				if fs.Has("/data/global/pg_control") {
					t.Error("it is synced before it is removed")
				}
				order = append(order, c.String())
			}
			return disk{h.Script}.Run(ctx, c, stdio)
		}
		do(t, erase(), newEnv(h))
		if len(order) == 0 || order[0] != "sync /data/global" {
			t.Errorf("%s: %q", name, order)
		}
	}
}
