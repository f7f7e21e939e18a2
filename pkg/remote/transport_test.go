package remote

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// A Ctrl-C on the terminal, and the end of the terminal, go to every process of its group.
func TestAProxyCommandOutlivesWhatTheTerminalSendsToItsGroup(t *testing.T) {
	t.Parallel()
	const script = `kill -INT $$; kill -QUIT $$; kill -HUP $$; echo "to %h"; read -r line; echo "$line"; exec sleep 60`
	for name, s := range map[string]settings{
		"argv":  {host: "pg1", proxyArgv: []string{"sh", "-c", script}},
		"shell": {host: "pg1", proxyCommand: "sh -c '" + script + "'"},
	} {
		p, err := dialProxy(s, "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(p)
		first, err := in.ReadString('\n')
		if err == nil {
			_, err = p.Write([]byte("and back\n"))
		}
		second, _ := in.ReadString('\n')
		if err != nil || first+second != "to pg1\nand back\n" {
			t.Errorf("%s: it says %q, %v; %s", name, first+second, err, p.complaint())
		}
		begun := time.Now()
		if err := p.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s: it ended after %s", name, took)
		}
	}
}

func TestAProxyCommandThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	_, err := dialProxy(settings{proxyArgv: []string{"pgrepctl-no-such-command"}}, "")
	if err == nil || !strings.Contains(err.Error(), `start proxy command: exec: "pgrepctl-no-such-command": executable file not found`) {
		t.Errorf("got %v", err)
	}
}
