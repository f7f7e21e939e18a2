package steps

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// asServer runs a command as a server runs restore_command and its kin.
func asServer(t *testing.T, dir, command, file, target string) error {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(command); i++ {
		if command[i] != '%' || i+1 == len(command) {
			b.WriteByte(command[i])
			continue
		}
		i++
		switch command[i] {
		case 'f', 'r':
			b.WriteString(file)
		case 'p':
			b.WriteString(target)
		case '%':
			b.WriteByte('%')
		default:
			b.WriteString(command[i-1 : i+1])
		}
	}
	cmd := exec.Command("/bin/sh", "-c", b.String())
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Errorf("%s\nsaid: %s", b.String(), out)
	}
	return err
}

func TestRestoreCommandTriesOneArchiveThenTheOtherWhateverTheirNames(t *testing.T) {
	t.Parallel()
	const segment = "000000010000000000000007"
	for _, name := range []string{"plain", "100%", "%f", "%p %r %%", "it's", `"q" \ $(touch hacked) ;&|*?`, "`touch hacked`", "-n", "größe", "a  b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			one, two := filepath.Join(t.TempDir(), name, "1"), filepath.Join(t.TempDir(), name, "2")
			archives := []inventory.Archive{{Directory: one}, {Directory: two}}
			command, err := restoreCommand(archives)
			if err != nil {
				t.Fatal(err)
			}
			single, err := restoreCommand(archives[1:])
			if err != nil {
				t.Fatal(err)
			}
			got := filepath.Join(data, "RECOVERYXLOG")
			for _, c := range []string{command, single} {
				if err := asServer(t, data, c, segment, "RECOVERYXLOG"); err == nil {
					t.Error("it found a file in archives that are not there")
				}
			}
			for _, dir := range []string{two, one} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, segment), []byte(dir), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := asServer(t, data, command, segment, "RECOVERYXLOG"); err != nil {
					t.Fatalf("%s: %v", command, err)
				}
				if b, err := os.ReadFile(got); err != nil || string(b) != dir {
					t.Errorf("got %q, want %q: %v", b, dir, err)
				}
			}
			if err := asServer(t, data, single, segment, "RECOVERYXLOG"); err != nil {
				t.Fatalf("%s: %v", single, err)
			}
			if b, err := os.ReadFile(got); err != nil || string(b) != two {
				t.Errorf("got %q, want %q: %v", b, two, err)
			}
			if left, err := os.ReadDir(data); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestCleanupIsOfAStandbysOwnArchivesAlone(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "100% bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	program := "#!/bin/sh\nprintf '%s\\n' \"$@\" >>args\n"
	hosttest.Program(t, filepath.Join(bin, "pg_archivecleanup"), program)
	h := &facts.Host{Machine: facts.Machine{BinDirectory: bin}}
	command, err := cleanupCommand([]inventory.Archive{{Directory: "/own/%r it's", Shared: false}, {Directory: "/own/2/", Shared: false}}, h)
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	if err := asServer(t, data, command, "000000010000000000000007", ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(data, "args"))
	if want := "/own/%r it's\n000000010000000000000007\n/own/2\n000000010000000000000007\n"; err != nil || string(b) != want {
		t.Errorf("got %q, want %q: %v", b, want, err)
	}
	if command, err := cleanupCommand([]inventory.Archive{{Directory: "/all", Shared: true}}, h); command != "" || err != nil {
		t.Errorf("%q, %v", command, err)
	}
}
