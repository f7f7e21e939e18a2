package remotetest

import (
	_ "embed"
	"os"
	"path/filepath"
	"testing"
)

//go:embed sudo.sh
var sudoScript []byte

// Sudo is an imitation of sudo for the in-process server: it runs the command
// as the user of the test. policy is "nopasswd", "password" (it is "secret"),
// "refused" or "tty". It returns the environment for Config.Env; the command
// finds the wanted user in SUDO_TO.
func Sudo(t testing.TB, policy string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), sudoScript, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "SUDO_POLICY=" + policy}
}
