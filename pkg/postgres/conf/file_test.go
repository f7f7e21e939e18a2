package conf

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseKeepsEveryByteOfRealFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"debian-15.conf", "postgresql.conf.sample"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(b), strings.ReplaceAll(string(b), "\n", "\r\n"), "\ufeff" + string(b), strings.TrimSuffix(string(b), "\n")} {
			if string(Parse([]byte(text)).Bytes()) != text {
				t.Errorf("%s does not come back", name)
			}
		}
	}
}

func TestDebianFileIsRead(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/debian-15.conf")
	if err != nil {
		t.Fatal(err)
	}
	f := Parse(b)
	if bad := f.refused(); bad != nil {
		t.Errorf("refused: %v", bad)
	}
	want := []Include{{IncludeDir, "conf.d", 805}}
	if diff := cmp.Diff(want, f.includes()); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"data_directory":  "/var/lib/postgresql/15/main",
		"PORT":            "5432",
		"log_line_prefix": "%m [%p] %q%u@%d ",
		"ssl":             "on",
	} {
		if got, ok := f.Get(name); !ok || got.Value != want {
			t.Errorf("%s = %+v, %v, not %q", name, got, ok, want)
		}
	}
	if got, ok := f.Get("wal_level"); ok {
		t.Errorf("wal_level is only a comment, not %+v", got)
	}
}

func TestLinesThatTheServerRefusesAreKnown(t *testing.T) {
	t.Parallel()
	f := Parse([]byte("a = 1\n\nb = 1.5GB # x\r\nc =\n'd' = 1\ne = 'x"))
	if diff := cmp.Diff([]int{3, 4, 5, 6}, f.refused()); diff != "" {
		t.Error(diff)
	}
}

func TestNamesFoldInASCIIOnly(t *testing.T) {
	t.Parallel()
	f := Parse([]byte("wor\u212a_mem = 1MB\n")) // the Kelvin sign
	if got, ok := f.Get("work_mem"); ok {
		t.Errorf("read as %+v", got)
	}
}
