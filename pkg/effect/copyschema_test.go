package effect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is a shell script in a directory of its own.
func program(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCopyOfASchemaFailsWhenEitherProgramDoes: the exit code of a pipe is that of its last
// command, and half a schema proves nothing.
func TestCopyOfASchemaFailsWhenEitherProgramDoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dump, psql string
		ok         bool
	}{
		"both do":           {"echo create table", "cat >&2", true},
		"pg_dump fails":     {"echo create table; exit 1", "cat >&2", false},
		"psql fails":        {"echo create table", "cat >&2; exit 3", false},
		"psql goes away":    {"yes 2>/dev/null", "exit 3", false},
		"no pg_dump at all": {"", "cat >&2", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dump := "/nowhere/pg_dump"
			if c.dump != "" {
				dump = program(t, c.dump)
			}
			cmd := exec.Command("/bin/sh", "-c", copySchemaScript, "pgrepctl-copy-schema", dump, program(t, c.psql), "dbname='a=b'", "dbname=c")
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("got %v: %s", err, out)
			}
			if c.ok && string(out) != "create table\n" {
				t.Errorf("it says %q", out)
			}
		})
	}
}

func TestCopyOfASchemaGivesTheProgramsWhatTheyNeed(t *testing.T) {
	t.Parallel()
	show := `printf '%s|' "$@" "$PGOPTIONS" "$LC_ALL" >&2`
	cmd := exec.Command("/bin/sh", "-c", copySchemaScript, "pgrepctl-copy-schema", program(t, show), program(t, "cat; "+show), "dbname='a=b'", "dbname=c", "--no-subscriptions")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	const env = "-c statement_timeout=0 -c lock_timeout=0|C|"
	for _, want := range []string{
		"--no-password|--schema-only|--no-tablespaces|--lock-wait-timeout=10000|--no-subscriptions|--dbname=dbname='a=b'|" + env,
		"-XAtq|--no-password|-v|ON_ERROR_STOP=1|--dbname=dbname=c|" + env,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in %q", want, out)
		}
	}
}
