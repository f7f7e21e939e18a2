package hba

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func seeds(f *testing.F) [][]byte {
	f.Helper()
	all := [][]byte{
		nil, []byte("\n"), []byte("\\"), []byte("\\\n"), []byte("# a \\\r\n"), []byte("\ufefflocal all all peer\n"),
		[]byte("host replication all all reject"), []byte("host all \"a b\",+g 10.0.0.0 255.0.0.0 ldap x=\"y z\" # c\r\n"),
		[]byte("include_dir x\ninclude y\n"), []byte("local a \\\n b \\\n\\\n peer\nlocal \"c\\\nd\" e trust\n"), []byte("local a b peer\x00\nx"),
		[]byte("host @f /^a .example.org md5\nhostssl replication r 10.0.0.12/32 scram-sha-256\n"),
	}
	for _, name := range []string{"debian-15.conf", "rhel-15.conf", "pg_hba.conf.sample"} {
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
		for _, r := range file.Rules() {
			if relate(r, r) != full {
				t.Fatalf("%+v does not match itself", r)
			}
			if _, err := format(r, ""); err != nil {
				continue // a host name that the server reads, and we would not write
			}
			text, _ := format(r, "")
			if back := rule(t, text); !sameRule(back, r) {
				t.Fatalf("%+v came back as %+v", r, back)
			}
		}
	})
}

func FuzzEnsureIdempotent(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, "hostssl", "replication", "replicator", "10.0.0.12/32", "scram-sha-256", "pgrepctl")
		f.Add(b, "local", "all", "a b", "", "peer", "")
		f.Add(b, "host", "a\nb", "x#", "db1.example.org", "md5", "a\\")
	}
	f.Fuzz(func(t *testing.T, b []byte, recordType, database, user, address, method, comment string) {
		want := Rule{
			Type: recordType, Databases: []Token{{Value: database}}, Users: []Token{{Value: user}},
			Address: address, Method: method,
		}
		before := Parse(b)
		file := Parse(b)
		at, changed, err := file.Ensure(want, comment)
		if err != nil || !changed {
			if !bytes.Equal(file.Bytes(), b) {
				t.Fatalf("%q became %q (%v)", b, file.Bytes(), err)
			}
			return
		}
		once := file.Bytes()
		after := Parse(once)
		if again, changed, err := after.Ensure(want, comment); again != at || changed || err != nil {
			t.Fatalf("%q: second Ensure: %d, %v, %v, first was %d", once, again, changed, err, at)
		}

		// One record more, at the line that was said, and the rest as it was.
		rest := after.Rules()
		for i, r := range rest {
			if r.Line == at {
				if !sameRule(r, want) {
					t.Fatalf("%q: line %d is %+v", once, at, r)
				}
				rest = append(rest[:i:i], rest[i+1:]...)
				break
			}
		}
		noLine := cmpopts.IgnoreFields(Rule{}, "Line")
		if diff := cmp.Diff(before.Rules(), rest, noLine, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q: other records changed: %s", once, diff)
		}
		if len(before.Errors()) != len(after.Errors()) || len(before.Includes()) != len(after.Includes()) {
			t.Fatalf("%q: %v, %v", once, before.Errors(), after.Errors())
		}
		if !file.Remove(want) {
			t.Fatalf("%q: not removed", once)
		}
		if diff := cmp.Diff(before.Rules(), file.Rules(), noLine, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q: not undone: %s", once, diff)
		}
	})
}
