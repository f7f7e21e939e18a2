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
	if len(f.Errors()) != 0 {
		t.Errorf("errors: %v", f.Errors())
	}
	want := []Include{{IncludeDir, "conf.d", 805}}
	if diff := cmp.Diff(want, f.Includes()); diff != "" {
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

func TestErrorsNameTheLineTheTextAndThePlace(t *testing.T) {
	t.Parallel()
	f := Parse([]byte("a = 1\n\nb = 1.5GB # x\r\nc =\n'd' = 1\ne = 'x"))
	want := []LineError{
		{3, "b = 1.5GB # x", `syntax error near token "GB"`},
		{4, "c =", "syntax error near end of line"},
		{5, "'d' = 1", `syntax error near token "'d'"`},
		{6, "e = 'x", `syntax error near token "'"`},
	}
	if diff := cmp.Diff(want, f.Errors()); diff != "" {
		t.Error(diff)
	}
	if got, want := f.Errors()[1].Error(), `line 4: syntax error near end of line: "c ="`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestNamesFoldInASCIIOnly(t *testing.T) {
	t.Parallel()
	f := Parse([]byte("wor\u212a_mem = 1MB\n")) // the Kelvin sign
	if got, ok := f.Get("work_mem"); ok {
		t.Errorf("read as %+v", got)
	}
}
