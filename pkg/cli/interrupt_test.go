package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// While nothing is being changed, the first Ctrl-C ends the command at once: a
// host that does not answer is no reason to wait for it.
func TestFirstInterruptEndsACommandThatOnlyLooks(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"status"},
		{"doctor"},
		{"standby", "bootstrap", "pg2", "--dry-run"},
		{"standby", "bootstrap", "pg2", "--yes"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			started := filepath.Join(dir, "started")
			// The proxy takes the connection and never says a word.
			text := fmt.Sprintf(`cluster: shop
postgres: {version: 15, data_directory: /srv/pg}
ssh: {user: nobody, proxy_command: [/bin/sh, -c, "touch %s; exec sleep 120"]}
hosts:
  pg1: {address: 127.0.0.1, role: primary}
  pg2: {address: 127.0.0.2, role: standby}
`, started)
			inv := filepath.Join(dir, "inventory.yaml")
			if err := os.WriteFile(inv, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			stop := make(chan struct{})
			go func() {
				defer close(stop)
				for t.Context().Err() == nil {
					if _, err := os.Stat(started); err == nil {
						return
					}
					time.Sleep(5 * time.Millisecond)
				}
			}()
			env := func(name string) string {
				return map[string]string{"HOME": dir, "XDG_STATE_HOME": filepath.Join(dir, "state")}[name]
			}
			var out, errs bytes.Buffer
			begun := time.Now()
			code := Run(t.Context(), append([]string{"-i", inv, "--connect-timeout", "60s"}, args...), Stdio{In: strings.NewReader(""), Out: &out, Err: &errs, Env: env, Stop: stop})
			if code != 130 {
				t.Errorf("exit code %d, want 130; stdout %q, stderr %q", code, &out, &errs)
			}
			if took := time.Since(begun); took > 20*time.Second {
				t.Errorf("took %s", took)
			}
			if _, err := os.Stat(filepath.Join(dir, "state", "pgrepctl", "shop")); err == nil {
				t.Error("a run was journalled")
			}
		})
	}
}
