package hosttest

import (
	"os"
	"syscall"
	"testing"
)

// Program writes a script that can be run. Nothing may fork meanwhile: the child has
// the file open for writing until it execs, and to run the script then fails with
// "text file busy".
func Program(t testing.TB, file, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil { //nolint:gosec // to be run
		t.Fatal(err)
	}
}
