package remote_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// SFTP itself calls a full disk a failure, like anything else.
func TestAWriteThatFindsNoSpaceSaysSo(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounts a file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	c := dial(t, target(remotetest.Start(t, remotetest.Config{})))
	write := func(name string, size int) error {
		return c.Files("").Write(t.Context(), host.File{Path: filepath.Join(dir, name), Exists: true, Data: bytes.Repeat([]byte("x"), size), Mode: 0o600, UID: -1, GID: -1}, nil)
	}
	err := write("large", 100<<10)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "no space left on device where "+dir+" is") {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := write("small", 40<<10); err != nil {
		t.Errorf("where there is room: %v", err)
	}
	// A failure of another kind is not called a full disk.
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := write("taken", 1); err == nil || errors.Is(err, syscall.ENOSPC) {
		t.Errorf("over a directory: %v", err)
	}
}
