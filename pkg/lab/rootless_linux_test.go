package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// TestMain lets the test binary stand in for pgrepctl where a test needs one as
// a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab" {
		if err := standIn(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// standIn is `lab up STATE DISKS [systemd]`, and the inner half of `lab dial`.
func standIn(ctx context.Context, args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "up":
		_, err := Up(ctx, Options{State: args[1], Disks: args[2], Hosts: 2, Cluster: true, Systemd: len(args) == 4})
		return err
	case len(args) == 5 && args[0] == "dial" && args[1] == "--connected-fd" && args[2] == "3" && args[3] == "--here":
		conn, err := DialHere(ctx, args[4])
		if err != nil {
			return err
		}
		return SpliceInside(os.NewFile(3, "connected"), conn, os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unexpected arguments %q", args)
}

// TestAPlainUserHasALabToo runs the tests of this package that matter for it once
// more, as a user made for the purpose.
func TestAPlainUserHasALabToo(t *testing.T) {
	t.Parallel()
	needHosts(t)
	if os.Geteuid() != 0 {
		t.Skip("needs root to make the user")
	}
	name := "pglab" + strconv.Itoa(os.Getpid())
	run(t, exec.Command("useradd", "--create-home", name))
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", "--force", "--remove", name).CombinedOutput(); err != nil {
			t.Errorf("remove user: %v\n%s", err, out)
		}
	})
	u, err := user.Lookup(name)
	do(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	do(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	do(t, err)
	asUser := func(argv ...string) *exec.Cmd {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = u.HomeDir
		cmd.Env = []string{"HOME=" + u.HomeDir, "USER=" + name, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", asPlainUser + "=1"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
	if out, err := asUser("unshare", "--user", "--map-root-user", "--map-auto", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine does not let plain users make user namespaces: %v\n%s", err, out)
	}

	// Root's root file system instead of a build of minutes.
	trees, err := planTrees(&Options{Postgres: "15"})
	do(t, err)
	root := trees[0].(*rootfs)
	do(t, root.ensure(t.Context(), false, func(text string) { t.Log(text) }))
	theirs := filepath.Join(u.HomeDir, ".cache", "pgrepctl", "lab", filepath.Base(root.dir))
	run(t, asUser("mkdir", "--parents", theirs))
	pack := exec.Command("tar", "--create", "--numeric-owner", "--directory="+root.dir, ".")
	unpack := asUser("unshare", "--user", "--map-root-user", "--map-auto", "--", "tar", "--extract", "--numeric-owner", "--directory="+theirs)
	unpack.Stdin, err = pack.StdoutPipe()
	do(t, err)
	do(t, pack.Start())
	run(t, unpack)
	do(t, pack.Wait())

	self, err := os.Executable()
	do(t, err)
	binary := filepath.Join(u.HomeDir, "pgrepctl-lab-test")
	copyFile(t, self, binary)
	tests := asUser(binary, "-test.v", "-test.run",
		"^(TestHostIsReached|TestHostKeeps|TestCutCable|TestFrozen|TestParted|TestSlow|TestExec|TestDown|TestSplice|TestTwoLabs|TestClusterOfDebians|TestUpThatIs|TestAPlainUserHasNo)/(machine|first_boot|second_boot|initialised)")
	out, err := tests.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	do(t, err)
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	do(t, err)
	_, err = io.Copy(dst, src)
	do(t, err)
	do(t, dst.Close())
}
