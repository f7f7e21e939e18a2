package remote

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// countingSSH is ssh, and counts how often it is asked.
func countingSSH(t *testing.T) (program string, times func() int) {
	t.Helper()
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal("install openssh-client (.ci/run does)")
	}
	dir := t.TempDir()
	program, count := filepath.Join(dir, "ssh"), filepath.Join(dir, "count")
	hosttest.Program(t, program, "#!/bin/sh\necho x >>"+count+"\nexec "+ssh+" \"$@\"\n")
	return program, func() int {
		b, _ := os.ReadFile(count)
		return strings.Count(string(b), "x")
	}
}

func TestSharedAnswersAreThoseThatSSHWouldGive(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		asked  int // of the four hosts below
	}{
		"nothing":              {"", 1},
		"all alike":            {"User u\nHost *\n  Port 99\n", 1},
		"some":                 {"Host pg1 10.0.*\n  User a\nHost=!pg2 pg?\n  Port 9\n  IdentityFile /k/%h\nHost *\n  User b\n", 3},
		"a name of its own":    {"Host pg*\n  HostName %h.example.org\n", 4},
		"the name in a value":  {"Host *\n  ControlPath /run/%h\n", 4},
		"Match":                {"Match host pg2\n  User m\n", 4},
		"canonical names":      {"CanonicalizeHostname yes\nCanonicalDomains example.org\nCanonicalizeFallbackLocal yes\n", 4},
		"included for some":    {"Host pg2\n  Include more\n", 4},
		"quoted":               {"Host \"pg2\"\n  User q\n", 4},
		"a comment after Host": {"Host pg2 # the second\n  User q\n", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeConfig(t, c.config)
			if err := os.WriteFile(filepath.Join(filepath.Dir(file), "more"), []byte("User i\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			ssh, times := countingSSH(t)
			var kept answers
			var got []settings
			targets := []Target{{Address: "pg1"}, {Address: "pg2"}, {Address: "pg3"}, {Address: "pg1", Name: "again"}}
			for i := range targets {
				targets[i].ConfigFile, targets[i].AgentSocket = file, "none"
				v, err := kept.ask(t.Context(), ssh, targets[i])
				if err != nil {
					t.Fatal(err)
				}
				s, err := apply(targets[i], v)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if n := times(); n != c.asked {
				t.Errorf("ssh was asked %d times, want %d", n, c.asked)
			}
			for i, to := range targets {
				v, _, err := askSSH(t.Context(), ssh, to)
				if err != nil {
					t.Fatal(err)
				}
				want, err := apply(to, v)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got[i], cmp.AllowUnexported(settings{})); diff != "" {
					t.Errorf("%s: %s", to.address(), diff)
				}
			}
		})
	}
}
