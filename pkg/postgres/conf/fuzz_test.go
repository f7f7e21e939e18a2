package conf

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// seeds are real files and the oddities that have broken such editors.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	all := [][]byte{
		nil, []byte("\n"), []byte("\r\n"), []byte("\r"), []byte("\x00"), []byte("\ufeffx = 1\n"),
		[]byte("x = 1"), []byte("x = 1\r\ny = 2\r\n"), []byte("x 'a''b\\'c' # d\n"), []byte("x'a'\nx+1\n"),
		[]byte("x = 'open\ny = 1\n"), []byte("include 'a'\ninclude_dir = b\n"), []byte("a.b = 'c\\"), []byte("x = 'a\x00b'\n"),
	}
	for _, name := range []string{"debian-15.conf", "postgresql.conf.sample"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func FuzzParseRoundTrip(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file := Parse(b)
		if got := file.Bytes(); !bytes.Equal(got, b) {
			t.Fatalf("%q came back as %q", b, got)
		}
		for _, s := range file.all() {
			if last, ok := file.Get(s.Name); !ok || last.Line < s.Line {
				t.Fatalf("%q: Get(%q) = %+v, %v", b, s.Name, last, ok)
			}
		}
	})
}

func FuzzSetThenGet(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, "x", "a'b\\c d")
		f.Add(b, "Work_Mem", "64MB")
		f.Add(b, "a.b", "x'\nport = 1")
	}
	f.Fuzz(func(t *testing.T, b []byte, name, value string) {
		before := Parse(b)
		file := Parse(b)
		if err := file.Set(name, value); err != nil {
			if !bytes.Equal(file.Bytes(), b) {
				t.Fatalf("refused (%v), yet %q became %q", err, b, file.Bytes())
			}
			return
		}
		if strings.ContainsAny(value, "\n\r\x00") {
			t.Fatalf("value %q was taken", value)
		}
		after := Parse(file.Bytes())
		if diff := cmp.Diff(after.all(), file.all()); diff != "" {
			t.Fatalf("memory and disk differ: %s", diff)
		}
		got, ok := after.Get(name)
		if !ok || got.Value != value {
			t.Fatalf("%q: set %q = %q, got %+v, %v", b, name, value, got, ok)
		}

		// Every other line says what it said.
		want := before.all()
		if old, had := before.Get(name); had {
			for i := range want {
				if want[i].Line == old.Line {
					want[i].Value = value
				}
			}
		} else {
			want = append(want, Setting{name, value, len(after.lines)})
		}
		if diff := cmp.Diff(want, after.all()); diff != "" {
			t.Fatalf("%q: set %q = %q changed other settings: %s", b, name, value, diff)
		}
		if diff := cmp.Diff(before.includes(), after.includes()); diff != "" {
			t.Fatalf("includes changed: %s", diff)
		}
		if diff := cmp.Diff(before.refused(), after.refused()); diff != "" {
			t.Fatalf("what the server refuses changed: %s", diff)
		}

		once := file.Bytes()
		if err := file.Set(name, value); err != nil || !bytes.Equal(file.Bytes(), once) {
			t.Fatalf("a second Set changed %q to %q (%v)", once, file.Bytes(), err)
		}
		if file.Unset(name) == 0 {
			t.Fatalf("%q: Unset found nothing", once)
		}
		if _, ok := file.Get(name); ok {
			t.Fatalf("%q: still set", once)
		}
	})
}

func FuzzKindNeverPanics(f *testing.F) {
	for _, s := range []string{"1", "0x", "1.5GB", "-", "1e", " 8 kB ", "0"} {
		f.Add("integer", "8kB", s, "1")
		f.Add("real", "ms", s, "1")
	}
	f.Fuzz(func(t *testing.T, vartype, unit, a, b string) {
		k := Kind{vartype, unit}
		if k.Equal(a, b) != k.Equal(b, a) || !k.Equal(a, a) {
			t.Fatalf("%+v: %q and %q", k, a, b)
		}
	})
}
