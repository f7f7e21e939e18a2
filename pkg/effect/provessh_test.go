package effect_test

import (
	"context"
	"errors"
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// here is a host whose commands run on this machine.
type here struct{ *hosttest.Script }

func (here) Run(ctx context.Context, c host.Cmd, io host.Stdio) error {
	cmd := osexec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	var words strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.In, io.Out, &words
	err := cmd.Run()
	var exit *osexec.ExitError
	if errors.As(err, &exit) {
		return &host.ExitError{Code: exit.ExitCode(), Stderr: words.String()}
	}
	return err
}

func TestTheWayOfACopyIsProvedByBeingTurnedAwayAtItsEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ssh  string // what it does; its arguments are those of ssh
		want string // in the error
	}{
		"turned away":            {ssh: `echo "admin@10.0.0.1: Permission denied (publickey)." >&2; exit 255`},
		"let in":                 {ssh: `exit 0`},
		"known by the line":      {ssh: `for a; do case $a in UserKnownHostsFile=*) grep -q "^source ssh-ed25519 AAAA$" "${a#*=}" && exit 0 ;; esac; done; exit 9`},
		"asked for nothing else": {ssh: `while [ "$1" != -- ]; do shift; done; [ "$*" = "-- 10.0.0.1 true" ] || exit 9`},
		"a firewall":             {ssh: `echo "ssh: connect to host 10.0.0.1 port 22: Connection timed out" >&2; exit 255`, want: "Connection timed out"},
		"another key":            {ssh: `echo "Host key verification failed." >&2; exit 255`, want: "Host key verification failed"},
		"no cipher":              {ssh: `echo "Unable to negotiate with 10.0.0.1 port 22: no matching cipher found" >&2; exit 255`, want: "no matching cipher"},
		"no ssh":                 {ssh: `exit 127`, want: "ended with 127"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			e := &effect.ProveSSH{Host: "pg2", To: "pg1", Argv: []string{"sh", "-c", c.ssh, "ssh"}, Address: "10.0.0.1", KnownHost: "source ssh-ed25519 AAAA", Dir: dir}
			_, err := e.Do(t.Context(), newEnv(here{hosttest.NewScript(t, "pg2", hosttest.NewFS())}))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v", err)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}
