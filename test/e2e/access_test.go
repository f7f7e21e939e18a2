package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// These faults are met before anything is planned: whatever is wrong, no host
// has changed.

func TestHostsThatCannotBeTrustedOrReachedAreLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		break_ func(t *testing.T, s *site, o *operator)
		code   int
		says   []string
	}{
		"unknown host key": {
			break_: func(t *testing.T, s *site, o *operator) {
				o.with(s.lab.KnownHostsPath(), file(t, "known_hosts", "h1,10.77.0.11 "+hostKey(t, s, "h1")+"\n"))
			},
			code: 4, says: []string{"h2", "host key", "known_hosts", "SHA256:"},
		},
		"changed host key": {
			break_: func(t *testing.T, s *site, o *operator) {
				o.with(s.lab.KnownHostsPath(), file(t, "known_hosts", "h1,10.77.0.11 "+hostKey(t, s, "h1")+"\nh2,10.77.0.12 "+hostKey(t, s, "h1")+"\n"))
			},
			code: 4, says: []string{"h2", "host key", "known_hosts:2"},
		},
		"wrong key": {
			break_: func(t *testing.T, s *site, o *operator) {
				o.with(s.lab.IdentityPath(), remotetest.NewKey(t).File)
			},
			code: 4, says: []string{"admin", "publickey"},
		},
		"wrong user": {
			break_: func(t *testing.T, s *site, o *operator) { o.with("user: admin", "user: nobody") },
			code:   4, says: []string{"nobody"},
		},
		"sudo asks for a password": {
			break_: func(t *testing.T, s *site, o *operator) {
				s.at(t, "h2", "echo 'admin ALL=(ALL:ALL) ALL' > /etc/sudoers.d/admin")
			},
			code: 4, says: []string{"h2", "sudo", "password"},
		},
		"sudo refuses": {
			break_: func(t *testing.T, s *site, o *operator) { s.at(t, "h2", "rm /etc/sudoers.d/admin") },
			code:   4, says: []string{"h2", "sudo"},
		},
		"standby without power": {
			break_: func(t *testing.T, s *site, o *operator) { s.do(t, s.lab.Kill(t.Context(), "h2")) },
			code:   5, says: []string{"h2", "10.77.0.12"},
		},
		"primary without cable": {
			break_: func(t *testing.T, s *site, o *operator) { s.do(t, s.lab.Cut(t.Context(), "h1")) },
			code:   5, says: []string{"h1", "10.77.0.11"},
		},
		"standby that hangs": {
			break_: func(t *testing.T, s *site, o *operator) { s.do(t, s.lab.Freeze(t.Context(), "h2")) },
			code:   5, says: []string{"h2", "no login to"},
		},
		"primary whose server is stopped": {
			break_: func(t *testing.T, s *site, o *operator) { s.at(t, "h1", "as $bin/pg_ctl -s -D $data -m fast stop") },
			code:   6, says: []string{"h1"},
		},
		"standby without a way to speak SQL": {
			break_: func(t *testing.T, s *site, o *operator) {
				s.at(t, "h2", "mv /usr/bin/perl /usr/bin/perl.away; [ ! -e /usr/bin/python3 ]; [ ! -e /usr/bin/socat ]")
				t.Cleanup(func() { s.at(t, "h2", "mv /usr/bin/perl.away /usr/bin/perl") })
			},
			code: 6, says: []string{"h2", "perl", "python3", "socat"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := take(t, etc)
			o := newOperator(t, s)
			c.break_(t, s, o)
			was := s.before(t, lenient)
			a := o.call("standby", "bootstrap", "h2", "--yes", "--connect-timeout", "4s").exits(c.code).says(c.says...)
			if a.took > 20*time.Second {
				t.Errorf("it took %s", a.took)
			}
			if a.stdout != "" {
				t.Errorf("an error on stdout: %s", a.stdout)
			}
			s.unchanged(t, was, lenient)
		})
	}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// hostKey is "ssh-ed25519 AAAA…" of a host.
func hostKey(t *testing.T, s *site, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.lab.Dir(), name, "hostkey.pub"))
	s.do(t, err)
	return strings.Join(strings.Fields(string(b))[:2], " ")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}
