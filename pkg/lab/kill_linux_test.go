package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestUpThatIsKilledLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	needHosts(t)
	// The moments are things to be seen from outside, in the order in which up
	// comes by them.
	moments := map[string]func(dir, disks string) bool{
		"lab.json":     func(dir, _ string) bool { return exists(dir, "lab.json") },
		"host keys":    func(dir, _ string) bool { return exists(dir, "h1/hostkey") },
		"machine":      func(dir, _ string) bool { return len(running(dir)) > 0 },
		"first boot":   func(dir, _ string) bool { return exists(dir, "h1/console.log") },
		"second boot":  func(dir, _ string) bool { return exists(dir, "h2/console.log") },
		"root mounted": func(_, disks string) bool { return exists(disks, "h1/upper/etc/machine-id") },
		"initialised":  func(_, disks string) bool { return exists(disks, "h1/upper/etc/lab-host") },
		"initdb":       func(_, disks string) bool { return exists(disks, "h1/upper/var/lib/postgresql/15/main/PG_VERSION") },
		"postmaster":   func(_, disks string) bool { return exists(disks, "h1/upper/var/lib/postgresql/15/main/postmaster.pid") },
	}
	for name, reached := range moments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, parent := t.TempDir(), t.TempDir()
			dir, disks := filepath.Join(state, DefaultName), filepath.Join(parent, "pgrepctl-lab-"+DefaultName)
			self, err := os.Executable()
			do(t, err)
			cmd := exec.Command(self, "lab", "up", state, parent)
			cmd.Stderr = os.Stderr
			do(t, cmd.Start())
			await(t, name, func() bool { return reached(dir, disks) })
			do(t, cmd.Process.Signal(syscall.SIGKILL))
			_ = cmd.Wait()
			// Before anybody cleans up: the lab's leash.
			await(t, "all processes to end", func() bool { return len(running(dir)) == 0 })
			if _, err := Open(state, DefaultName); err == nil {
				t.Error("a half-made lab was opened")
			}
			do(t, Down(context.Background(), state, DefaultName))
			nothingLeft(t, dir, nil)
			nothingLeft(t, disks, nil)
			// And the name is free again.
			l, err := Up(t.Context(), Options{State: state, Disks: parent, Hosts: 1})
			do(t, err)
			do(t, l.Down(t.Context()))
		})
	}
}

func TestUpAfterAKilledOneCleansUpByItself(t *testing.T) {
	t.Parallel()
	needHosts(t)
	state, disks := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	do(t, err)
	cmd := exec.Command(self, "lab", "up", state, disks)
	do(t, cmd.Start())
	await(t, "a host to boot", func() bool { return exists(state, DefaultName+"/h1/console.log") })
	do(t, cmd.Process.Kill())
	_ = cmd.Wait()
	l := up(t, Options{State: state, Disks: disks, Hosts: 1})
	if got := in(t, l, "h1", "hostname"); got != "h1" {
		t.Errorf("got %q", got)
	}
}

func TestUpThatIsCancelledRemovesWhatItMade(t *testing.T) {
	t.Parallel()
	needHosts(t)
	state := t.TempDir()
	dir := filepath.Join(state, DefaultName)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := Up(ctx, Options{State: state, Cluster: true})
		failed <- err
	}()
	await(t, "a host to boot", func() bool { return exists(dir, "h1/console.log") })
	cancel()
	if err := <-failed; err == nil {
		t.Error("up succeeded")
	}
	nothingLeft(t, dir, nil)
}

func exists(elem ...string) bool {
	_, err := os.Lstat(filepath.Join(elem...))
	return err == nil
}

// running returns the processes that have a file of the directory in their argv.
func running(dir string) []int {
	pids, _ := processes(func(argv []string) bool {
		for _, a := range argv {
			if len(a) > len(dir) && a[:len(dir)+1] == dir+"/" {
				return true
			}
		}
		return false
	})
	return pids
}
