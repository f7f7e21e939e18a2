package remote

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// guarded runs the guard below a process whose name is one of sshd's, and
// returns the guard's input and when that process ends.
func guarded(t *testing.T, ttl int) (lease io.WriteCloser, ended <-chan error) {
	t.Helper()
	sshd := filepath.Join(t.TempDir(), "sshd-session")
	if err := os.Symlink("/bin/sh", sshd); err != nil {
		t.Fatal(err)
	}
	// As sshd does, by way of a shell; and it stays when the guard has ended.
	argv := append([]string{"-c", `/bin/sh -c '"$@"; exit' login "$@"; exec sleep 200`, "sshd"}, guardArgv(ttl)...)
	cmd := exec.Command(sshd, argv...)
	lease, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = lease.Close()
		_ = cmd.Process.Kill()
		for range done {
		}
	})
	return lease, done
}

func TestGuardEndsTheConnectionOfASilentClient(t *testing.T) {
	t.Parallel()
	_, ended := guarded(t, 1)
	select {
	case err := <-ended:
		if err == nil || err.Error() != "signal: terminated" {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the connection of a client that is silent stays")
	}
}

func TestGuardLeavesTheConnectionOfAClientThatBeats(t *testing.T) {
	t.Parallel()
	// A busy machine may take its time from a beat to the shell that hears it.
	const ttl = 6
	lease, ended := guarded(t, ttl)
	beat := time.NewTicker(300 * time.Millisecond)
	defer beat.Stop()
	for range 30 {
		<-beat.C
		_, _ = io.WriteString(lease, "\n")
	}
	// Nor does the end of the input end more than the guard.
	_ = lease.Close()
	select {
	case err := <-ended:
		t.Errorf("it ended: %v", err)
	case <-time.After((ttl + 1) * time.Second):
	}
}

// A client that ends just after it has beaten is the usual case.
func TestGuardLeavesNoProcessBehind(t *testing.T) {
	t.Parallel()
	ttl := 1_000_000 + os.Getpid() // in no other command line
	for range 20 {
		lease, _ := guarded(t, ttl)
		_, _ = io.WriteString(lease, "\n\n\n")
		_ = lease.Close()
	}
	left := func() []byte {
		out, _ := exec.Command("pgrep", "-f", "^(sleep|/bin/sh .*) "+strconv.Itoa(ttl)).Output()
		return out
	}
	for deadline := time.Now().Add(10 * time.Second); len(left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %s", left())
		}
	}
}
