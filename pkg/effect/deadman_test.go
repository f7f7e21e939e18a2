package effect

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// dies arms the switch and ends it as the leash does.
func dies(t *testing.T, sh string, args ...string) {
	t.Helper()
	cmd := exec.Command(sh, "-c", deadManScript, "pgrepctl-deadman")
	cmd.Stdin = strings.NewReader(strings.Join(args, "\n") + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	// Nobody listens any more, as when the connection is gone.
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestDeadMansSwitchRemovesItsLinesAndNoOther(t *testing.T) {
	t.Parallel()
	const anna, bert = "ssh-ed25519 AAAAanna anna@desk", "# bert\nssh-rsa AAAAbert bert\n"
	const ours, second = `restrict,command="x" ssh-ed25519 AAAAours pgrepctl:run1:pg2:0`, `restrict ssh-ed25519 AAAAsecond pgrepctl:run1:pg2:1`
	for name, c := range map[string]struct{ file, want string }{
		"the last line":                             {anna + "\n" + ours + "\n", anna + "\n"},
		"the file had no newline at its end":        {anna + "\n" + ours + " no-newline-before\n" + second + "\n", anna},
		"somebody wrote behind it":                  {anna + "\n" + ours + " no-newline-before\n" + bert, anna + "\n" + bert},
		"the file was made for it":                  {ours + " new-file\n" + second + "\n", ""},
		"the file was made for it and has one more": {ours + " new-file\n" + bert, bert},
		"the file was empty":                        {ours + "\n", "\x00empty"},
		"it is gone":                                {anna + "\n" + bert, anna + "\n" + bert},
		"another key of the same run":               {anna + "\nssh-ed25519 AAAAoursX pgrepctl:run1:pg2:0\n", anna + "\nssh-ed25519 AAAAoursX pgrepctl:run1:pg2:0\n"},
	} {
		for _, sh := range []string{"/bin/sh", "/bin/bash"} {
			t.Run(name+" "+sh, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				file := filepath.Join(dir, "authorized_keys")
				if err := os.WriteFile(file, []byte(c.file), 0o640); err != nil {
					t.Fatal(err)
				}
				dies(t, sh, file, "", "AAAAours", "AAAAsecond", "")
				b, err := os.ReadFile(file)
				got := string(b)
				if err == nil && got == "" {
					got = "\x00empty"
				}
				if got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if info, err := os.Stat(file); err == nil && info.Mode().Perm() != 0o640 {
					t.Errorf("mode %o", info.Mode().Perm())
				}
				names, err := os.ReadDir(dir)
				if err != nil || len(names) > 1 {
					t.Errorf("left: %v, %v", names, err)
				}
			})
		}
	}
}

func TestDeadMansSwitchRemovesItsDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pgrepctl-x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key0"), []byte("private"), 0o600); err != nil {
		t.Fatal(err)
	}
	dies(t, "/bin/sh", "", dir, "")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}

// Of a client that is gone without a word the sender knows nothing. What ends is that, and
// the sshd that it talks through, and nothing beside it.
func TestDeadMansSwitchEndsTheSendersOfItsKey(t *testing.T) {
	t.Parallel()
	for _, sh := range []string{"/bin/sh", "/bin/bash"} {
		t.Run(sh, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			sender := filepath.Join(dir, "größe of rsync")
			if err := os.Symlink("/bin/sleep", sender); err != nil {
				t.Fatal(err)
			}
			// As sshd has it: sshd, a shell, the sender.
			sshd := exec.Command("/bin/bash", "-c", `(exec -a "sshd: admin@notty" /bin/bash -c '/bin/bash -c "\"\$0\" 1000; true" "$0"; true' "$0")`, sender)
			other := exec.Command(sender, "1001")
			for _, c := range []*exec.Cmd{sshd, other} {
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
			}
			ended := make(chan error, 1)
			go func() { ended <- sshd.Wait() }()
			for exec.Command("pgrep", "-f", "^"+sender+" 1000$").Run() != nil {
				select {
				case err := <-ended:
					t.Fatalf("there is no sender: %v", err)
				default:
				}
			}
			dies(t, sh, "", "", "", sender+" 1000")
			<-ended
			if err := exec.Command("pgrep", "-f", "^"+sender+" 1000$").Run(); err == nil {
				t.Error("the sender is still there")
			}
			if err := other.Process.Kill(); err != nil {
				t.Errorf("what is not ours was ended: %v", err)
			}
			if err := other.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("what is not ours: %v", err)
			}
		})
	}
}
