package remotetest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

func fileIsRead(t *testing.T, h host.Host) {
	dir := t.TempDir()
	name := filepath.Join(dir, "conf")
	data := bytes.Repeat([]byte("x\x00\r\n"), 50000) // several SFTP packets
	WriteFile(t, name, data)
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	got, err := h.Files("").Read(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Data, data) {
		t.Errorf("got %d bytes of %d", len(got.Data), len(data))
	}
	got.Data = nil
	want := host.File{Path: name, Exists: true, Mode: 0o640, UID: os.Getuid(), GID: os.Getgid()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = h.Files("").ReadSome(within(t), name, 10)
	if err != nil || !bytes.Equal(got.Data, data[:10]) {
		t.Errorf("got %q, %v", got.Data, err)
	}
	got, err = h.Files("").Read(within(t), filepath.Join(dir, "none"))
	if err != nil || got.Exists || got.Path != filepath.Join(dir, "none") {
		t.Errorf("missing file: got %+v, %v", got, err)
	}
	if _, err := h.Files("").Read(within(t), dir); err == nil {
		t.Error("a directory was read")
	}
}

func writeReplaces(t *testing.T, h host.Host) {
	dir := t.TempDir()
	name := filepath.Join(dir, "conf")
	files := h.Files("")
	f := host.File{Path: name, Data: []byte("one\n"), Mode: 0o600, UID: -1, GID: -1}
	if err := files.Write(within(t), f, nil); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	f.Data, f.Mode = []byte("two\n"), 0o644
	if err := files.Write(within(t), f, nil); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(name); string(got) != "two\n" || after.Mode() != 0o644 {
		t.Errorf("got %q, %v", got, after.Mode())
	}
	if os.SameFile(before, after) {
		t.Error("the file was changed in place")
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("something was left: %v", names)
	}
}

func writeComparesAndSwaps(t *testing.T, h host.Host) {
	dir := t.TempDir()
	name := filepath.Join(dir, "conf")
	files := h.Files("")
	f := host.File{Path: name, Data: []byte("mine\n"), Mode: 0o600, UID: -1, GID: -1}
	missing := host.File{Path: name}
	if err := files.Write(within(t), f, &missing); err != nil {
		t.Fatalf("new file: %v", err)
	}
	for _, was := range []host.File{missing, {Path: name, Exists: true, Data: []byte("other\n")}, {Path: name, Exists: true, Data: []byte("min")}, {Path: name, Exists: true}} {
		if err := files.Write(within(t), host.File{Path: name, Data: []byte("lost\n"), Mode: 0o600, UID: -1, GID: -1}, &was); !errors.Is(err, host.ErrChanged) {
			t.Errorf("%+v: got %v", was, err)
		}
	}
	if got, _ := os.ReadFile(name); string(got) != "mine\n" {
		t.Errorf("got %q", got)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("something was left: %v", names)
	}
	was, err := files.Read(within(t), name)
	if err != nil {
		t.Fatal(err)
	}
	f.Data = []byte("next\n")
	if err := files.Write(within(t), f, &was); err != nil {
		t.Error(err)
	}
}

func writeFollowsLinks(t *testing.T, h host.Host) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"conf": "hop", "hop": filepath.Join(dir, "real", "conf"), "a": "b", "b": "a"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	f := host.File{Path: filepath.Join(dir, "conf"), Data: []byte("x"), Mode: 0o600, UID: -1, GID: -1}
	for range 2 { // dangling at first
		if err := h.Files("").Write(within(t), f, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "real", "conf")); string(got) != "x" {
		t.Errorf("got %q", got)
	}
	if to, err := os.Readlink(f.Path); err != nil || to != "hop" {
		t.Errorf("the link is now %q, %v", to, err)
	}
	f.Path = filepath.Join(dir, "a")
	if err := h.Files("").Write(within(t), f, nil); err == nil {
		t.Error("a loop of links was written")
	}
}

func failedWriteLeavesNothing(t *testing.T, h host.Host) {
	dir := t.TempDir()
	name := filepath.Join(dir, "taken")
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Files("").Write(within(t), host.File{Path: name, Data: []byte("x"), Mode: 0o600, UID: -1, GID: -1}, nil); err == nil {
		t.Error("a directory was replaced")
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("something was left: %v", names)
	}
	if err := h.Files("").Write(within(t), host.File{Path: dir + "/no/such", Mode: 0o600, UID: -1, GID: -1}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func directories(t *testing.T, h host.Host) {
	files, dir := h.Files(""), t.TempDir()
	sub := filepath.Join(dir, "sub")
	for range 2 {
		if err := files.Mkdir(within(t), sub, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Mkdir(within(t), sub, 0o700); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(sub); info.Mode() != fs.ModeDir|0o750 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := files.Chmod(within(t), sub, 0o700); err != nil {
		t.Error(err)
	}
	WriteFile(t, filepath.Join(dir, "b"), []byte("123"))
	WriteFile(t, filepath.Join(dir, "B"), nil)
	got, err := files.List(within(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []host.Entry{
		{Name: "B", Mode: 0o600, UID: os.Getuid()},
		{Name: "b", Mode: 0o600, Size: 3, UID: os.Getuid()},
		{Name: "sub", Mode: fs.ModeDir | 0o700, UID: os.Getuid()},
	}
	if len(got) == 3 {
		got[2].Size = 0 // the file system's own affair
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := files.List(within(t), dir+"/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := files.Mkdir(within(t), filepath.Join(dir, "b"), 0o700); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func namesAndLinks(t *testing.T, h host.Host) {
	files, dir := h.Files(""), t.TempDir()
	a, b, link := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "link")
	WriteFile(t, a, []byte("a"))
	WriteFile(t, b, []byte("b"))
	if err := files.Rename(within(t), a, b); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(b); string(got) != "a" {
		t.Errorf("got %q", got)
	}
	if err := files.Symlink(within(t), "to/nowhere", link); err != nil {
		t.Fatal(err)
	}
	if to, err := files.ReadLink(within(t), link); err != nil || to != "to/nowhere" {
		t.Errorf("got %q, %v", to, err)
	}
	if e, err := files.Stat(within(t), link); err != nil || e.Mode&fs.ModeSymlink == 0 || e.Name != "link" {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := files.Stat(within(t), a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := files.Remove(within(t), link); err != nil {
			t.Error(err)
		}
	}
	if err := files.Remove(within(t), dir); err == nil {
		t.Error("a directory with files was removed")
	}
}

func relativeRefused(t *testing.T, h host.Host) {
	if _, err := h.Files("").Read(within(t), "etc/passwd"); err == nil {
		t.Error("read")
	}
	if err := h.Files("").Rename(within(t), "/tmp/a", "b"); err == nil {
		t.Error("rename")
	}
}

func nulInNamesRefused(t *testing.T, h host.Host) {
	files, dir := h.Files(""), t.TempDir()
	name := filepath.Join(dir, "conf")
	WriteFile(t, name, []byte("x"))
	for _, nul := range []string{"\x00", "\x00x"} {
		for act, err := range map[string]error{
			"write":  files.Write(within(t), host.File{Path: name + nul, Mode: 0o600, UID: -1, GID: -1}, nil),
			"link":   files.Symlink(within(t), name+nul, filepath.Join(dir, "link")),
			"rename": files.Rename(within(t), name, filepath.Join(dir, "other")+nul),
		} {
			if err == nil {
				t.Errorf("%s: %q was let through", act, nul)
			}
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 || names[0].Name() != "conf" {
		t.Errorf("something was made: %v", names)
	}
	if _, err := files.Stat(within(t), name); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func cancelledFileCall(t *testing.T, h host.Host) {
	name := filepath.Join(t.TempDir(), "fifo")
	// Opening a FIFO blocks the sftp-server until somebody writes.
	if err := h.Run(within(t), host.Cmd{Argv: []string{"mkfifo", name}}, host.Stdio{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(within(t), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := h.Files("").Read(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if _, err := h.Files("").Stat(within(t), name); err != nil {
		t.Errorf("the next call: %v", err)
	}
}
