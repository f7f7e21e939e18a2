package remote_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pkg/sftp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// blind is a server of files that knows no fsync.
func blind(t *testing.T) *sftp.Client {
	t.Helper()
	near, far := net.Pipe()
	server, err := sftp.NewServer(far)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { _ = server.Serve(); close(served) }()
	client, err := sftp.NewClientPipe(near, near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close(); _ = near.Close(); <-served })
	return client
}

// A standby's pg_control is renamed last, and a power cut after that must find it there.
func TestARenameIsSyncedByItsServerOrElseByACommand(t *testing.T) {
	t.Parallel()
	sync, err := exec.LookPath("sync")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	said := filepath.Join(bin, "said")
	script := "#!/bin/sh\necho \"$*\" >>" + said + "\nexec " + sync + ` "$@"` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "sync"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := dial(t, target(remotetest.Start(t, remotetest.Config{Env: []string{"PATH=" + bin}})))
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, by := range []struct {
		files host.Files
		want  string
	}{{c.Files(""), ""}, {c.FilesBy(blind(t)), dir + "\n"}} {
		if err := os.WriteFile(a, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := by.files.Rename(limited(t), a, b); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(said); string(got) != by.want {
			t.Errorf("synced by command: %q, want %q", got, by.want)
		}
	}
}
