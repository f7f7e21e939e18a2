package hba

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rule reads one record, so that tests can write it as an operator would.
func rule(t testing.TB, text string) Rule {
	t.Helper()
	f := Parse([]byte(text))
	if len(f.Errors()) != 0 || len(f.Rules()) != 1 {
		t.Fatalf("%q is not one record: %v", text, f.Errors())
	}
	r := f.Rules()[0]
	r.Line = 0
	return r
}

const (
	repl     = "hostssl replication replicator 10.0.0.12/32 scram-sha-256"
	replLine = "hostssl replication     replicator      10.0.0.12/32            scram-sha-256"
)

func TestEnsureInsertsBeforeTheRecordThatWouldDecideOtherwise(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want, before, after string
		at                        int
	}{
		{"empty file", repl, "", replLine + "\n", 1},
		{"nothing matches: at the end", repl, "local all all peer\n# end\n", "local all all peer\n# end\n" + replLine + "\n", 3},
		{"all is not replication", repl, "host all all all md5\n", "host all all all md5\n" + replLine + "\n", 2},
		{"quoted replication is a database", repl, "host \"replication\" all all md5\n", "host \"replication\" all all md5\n" + replLine + "\n", 2},
		{"reject before", repl, "local all all peer\nhost replication all all reject\n", "local all all peer\n" + replLine + "\nhost replication all all reject\n", 2},
		{"reject in a list", repl, "host all,replication a,all 0.0.0.0/0 reject\n", replLine + "\nhost all,replication a,all 0.0.0.0/0 reject\n", 1},
		{"wider record of another method", repl, "# c\nhost replication replicator 10.0.0.0/8 md5\n", "# c\n" + replLine + "\nhost replication replicator 10.0.0.0/8 md5\n", 2},
		{"narrower record of another method", "host replication all 10.0.0.0/8 md5", "host replication all 10.1.0.0/16 trust\n", "host    replication     all             10.0.0.0/8              md5\nhost replication all 10.1.0.0/16 trust\n", 1},
		{"same record behind a reject", repl, "host replication all all reject\n" + repl + "\n", replLine + "\nhost replication all all reject\n" + repl + "\n", 1},
		{"same method, other options", repl, repl + " map=x\n", replLine + "\n" + repl + " map=x\n", 1},
		{"partly the same, then another", "host replication a,b all md5", "host replication a all md5\nhost replication b all trust\n", "host replication a all md5\nhost    replication     a,b             all                     md5\nhost replication b all trust\n", 2},
		{"narrower type of the same method does not suffice", "host replication r all md5", "hostssl replication r all md5\n", "hostssl replication r all md5\nhost    replication     r               all                     md5\n", 2},
		{"other user", repl, "host replication backup all reject\n", "host replication backup all reject\n" + replLine + "\n", 2},
		{"other address", repl, "host replication all 10.0.0.13/32 reject\n", "host replication all 10.0.0.13/32 reject\n" + replLine + "\n", 2},
		{"other address family", repl, "host replication all ::/0 reject\n", "host replication all ::/0 reject\n" + replLine + "\n", 2},
		{"not encrypted", repl, "hostnossl replication all all reject\n", "hostnossl replication all all reject\n" + replLine + "\n", 2},
		{"GSSAPI is not TLS", repl, "hostgssenc replication all all reject\n", "hostgssenc replication all all reject\n" + replLine + "\n", 2},
		{"socket", repl, "local replication all reject\n", "local replication all reject\n" + replLine + "\n", 2},
		{"group", repl, "host replication +g all reject\n", replLine + "\nhost replication +g all reject\n", 1},
		{"quoted group is a name", repl, "host replication \"+g\" all reject\n", "host replication \"+g\" all reject\n" + replLine + "\n", 2},
		{"regular expression", repl, "host replication /^x all reject\n", replLine + "\nhost replication /^x all reject\n", 1},
		{"regular expression does not match replication", repl, "host /. all all reject\n", "host /. all all reject\n" + replLine + "\n", 2},
		{"file of users", repl, "host replication @u all reject\n", replLine + "\nhost replication @u all reject\n", 1},
		{"file of databases", repl, "host @d all all reject\n", replLine + "\nhost @d all all reject\n", 1},
		{"host name", repl, "host replication all db1.example.org reject\n", replLine + "\nhost replication all db1.example.org reject\n", 1},
		{"samenet", repl, "host replication all samenet reject\n", replLine + "\nhost replication all samenet reject\n", 1},
		{"netmask", repl, "host replication all 10.0.0.0 255.0.0.0 reject\n", replLine + "\nhost replication all 10.0.0.0 255.0.0.0 reject\n", 1},
		{"included file", repl, "include_if_exists x\n", replLine + "\ninclude_if_exists x\n", 1},
		{"line that cannot be read", repl, "host replication all\n", replLine + "\nhost replication all\n", 1},
		{"continued record", repl, "# c\nhost replication \\\n all all \\\n reject\n", "# c\n" + replLine + "\nhost replication \\\n all all \\\n reject\n", 2},
		{"behind a continued record", repl, "local all \\\n all peer\n", "local all \\\n all peer\n" + replLine + "\n", 3},
		{"behind a continued comment", repl, "# a \\\n b \\\nhost replication all all reject\n", "# a \\\n b \\\nhost replication all all reject\n" + replLine + "\n", 4},
		{"no newline at the end", repl, "local all all peer", "local all all peer\n" + replLine + "\n", 2},
		{"CRLF", repl, "local all all peer\r\nhost replication all all reject\r\n", "local all all peer\r\n" + replLine + "\r\nhost replication all all reject\r\n", 2},
		{"CRLF without the last", repl, "# a\r\nlocal all all peer", "# a\r\nlocal all all peer\r\n" + replLine + "\r\n", 3},
		{"continuation cut off by the end", repl, "# a \\", "# a \\\n\n" + replLine + "\n", 3},
		{"continuation cut off after its newline", repl, "# a \\\n", "# a \\\n\n" + replLine + "\n", 3},
		{"database: sameuser may match", "host app app all md5", "host sameuser all all reject\n", "host    app             app             all                     md5\nhost sameuser all all reject\n", 1},
		{"database: sameuser cannot match", "host app web all md5", "host sameuser all all reject\n", "host sameuser all all reject\nhost    app             web             all                     md5\n", 2},
		{"database: samerole", "host app web all md5", "host samerole all all reject\n", "host    app             web             all                     md5\nhost samerole all all reject\n", 1},
		{"database: replication is another", "host app web all md5", "host replication all all reject\n", "host replication all all reject\nhost    app             web             all                     md5\n", 2},
		{"all users, one named before", "host app all all md5", "host app web all trust\n", "host    app             all             all                     md5\nhost app web all trust\n", 1},
		{"local", "local all postgres peer", "local all all md5\n", "local   all             postgres        peer\nlocal all all md5\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := Parse([]byte(tt.before))
			r := rule(t, tt.want)
			shadow, shadowed := f.Shadow(r)
			at, changed, err := f.Ensure(r, "")
			if err != nil || !changed || at != tt.at {
				t.Errorf("Ensure = %d, %v, %v; not %d, true", at, changed, err, tt.at)
			}
			if diff := cmp.Diff(tt.after, string(f.Bytes())); diff != "" {
				t.Error(diff)
			}
			// What shadowed it is what follows it now.
			if follows := linesOf(Parse([]byte(tt.after)), tt.at+1); shadowed != (len(follows) > 0) || shadowed && shadow.Line != follows[0]-1 {
				t.Errorf("Shadow = %+v, %v; records behind ours are at %v", shadow, shadowed, follows)
			}
			if again, changed, err := f.Ensure(r, "x"); again != at || changed || err != nil {
				t.Errorf("a second Ensure = %d, %v, %v", again, changed, err)
			}
			if s, shadowed := f.Shadow(r); shadowed {
				t.Errorf("still shadowed by %+v", s)
			}
		})
	}
}

// linesOf returns where everything but comments begins, from a line on.
func linesOf(f *File, from int) []int {
	var all []int
	for _, r := range f.Rules() {
		all = append(all, r.Line)
	}
	for _, i := range f.Includes() {
		all = append(all, i.Line)
	}
	for _, e := range f.Errors() {
		all = append(all, e.Line)
	}
	slices.Sort(all)
	return slices.DeleteFunc(all, func(line int) bool { return line < from })
}

func TestEnsureLeavesAFileThatAnswersAlready(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want, file string
		at               int
	}{
		{"the record itself", repl, replLine + "\n", 1},
		{"with a comment", repl, "# x\n" + repl + " # why\n", 2},
		{"other spelling", repl, "hostssl \"a\", replication \"replicator\" 10.0.0.12 255.255.255.255 \"scram-sha-256\"\n", 1},
		{"wider type", repl, "host replication replicator 10.0.0.12/32 scram-sha-256\n", 1},
		{"hostnogssenc is wider than hostssl", repl, "hostnogssenc replication replicator 10.0.0.12/32 scram-sha-256\n", 1},
		{"wider list", repl, "hostssl all,replication a,replicator 10.0.0.12/32 scram-sha-256\n", 1},
		{"wider network", repl, "hostssl replication replicator 10.0.0.0/24 scram-sha-256\n", 1},
		{"wider network as a mask", repl, "hostssl replication replicator 10.9.9.9 255.0.0.0 scram-sha-256\n", 1},
		{"every address", repl, "hostssl replication replicator all scram-sha-256\n", 1},
		{"every user", repl, "hostssl replication all 10.0.0.12/32 scram-sha-256\n", 1},
		{"narrower and wider of the same method", repl, "host replication +g all scram-sha-256\nhost replication all all scram-sha-256\n", 2},
		{"before a reject", repl, repl + "\nhost all,replication all all reject\n", 1},
		{"behind a reject of others", repl, "host replication other all reject\nhost all all all reject\n" + repl + "\n", 3},
		{"options in another order", repl + " a=1 b=2", repl + " b=2 a=1\n", 1},
		{"ident on a socket is peer", "local all all peer", "local all all ident\n", 1},
		{"all for one database", "host app web 10.0.0.1/32 md5", "host all all 10.0.0.0/8 md5\n", 1},
		{"sameuser", "host app app all md5", "host sameuser all all md5\n", 1},
		{"sameuser asked for", "host sameuser all all md5", "host all all all md5\n", 1},
		{"same group", "host app +g all md5", "host app +g,x all md5\n", 1},
		{"same regular expression", "host app /^a all md5", "host app \"/^a\" all md5\n", 1},
		{"host name in other case", "host app web DB1.example.org md5", "host app web db1.Example.org md5\n", 1},
		{"suffix of a host name", "host app web db1.example.org md5", "host app web .Example.org md5\n", 1},
		{"samehost in samenet", "host app web samehost md5", "host app web samenet md5\n", 1},
		{"replication is an ordinary role", "host app replication all md5", "host app \"replication\" all md5\n", 1},
		{"a plus sign is ordinary in a database", "host +app web all md5", "host \"+app\" web all md5\n", 1},
		{"IPv6", "host app web 2001:db8::1/128 md5", "host app web 2001:db8::/32 md5\n", 1},
		{"continued", repl, "hostssl replication \\\nreplicator 10.0.0.12/32 \\\nscram-sha-256\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := Parse([]byte(tt.file))
			at, changed, err := f.Ensure(rule(t, tt.want), "ours")
			if err != nil || changed {
				t.Fatalf("Ensure = %d, %v, %v:\n%s", at, changed, err, f.Bytes())
			}
			if string(f.Bytes()) != tt.file {
				t.Errorf("bytes changed:\n%s", f.Bytes())
			}
			if at != tt.at {
				t.Errorf("at line %d, not %d", at, tt.at)
			}
		})
	}
}

func TestEnsureOnTheDefaultFilesAppendsAndRemoveRestores(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"debian-15.conf", "rhel-15.conf"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		f := Parse(b)
		if errs := f.Errors(); len(errs) != 0 {
			t.Errorf("%s: %v", name, errs)
		}
		r := rule(t, repl)
		if _, changed, err := f.Ensure(r, "pgrepctl: standby pg2"); err != nil || !changed {
			t.Fatalf("%s: %v, %v", name, changed, err)
		}
		if got, want := string(f.Bytes()), string(b)+replLine+" # pgrepctl: standby pg2\n"; got != want {
			t.Errorf("%s: %s", name, cmp.Diff(want, got))
		}
		if !f.Remove(r) || string(f.Bytes()) != string(b) {
			t.Errorf("%s: not as before", name)
		}
		if f.Remove(r) {
			t.Errorf("%s: removed twice", name)
		}
		// A local replication login by peer is there already.
		if at, changed, err := f.Ensure(rule(t, "local replication postgres peer"), ""); err != nil || changed || at < 80 {
			t.Errorf("%s: %d, %v, %v", name, at, changed, err)
		}
		// A password for the loopback address must stand before the default.
		loopback := rule(t, "host replication replicator 127.0.0.1/32 md5")
		shadow, shadowed := f.Shadow(loopback)
		if !shadowed || shadow.Address != "127.0.0.1/32" || !shadow.Databases[0].is("replication") {
			t.Errorf("%s: Shadow = %+v, %v", name, shadow, shadowed)
		}
		if at, changed, err := f.Ensure(loopback, ""); err != nil || !changed || at != shadow.Line {
			t.Errorf("%s: %d, %v, %v", name, at, changed, err)
		}
	}
}

func TestRemoveTakesExactlyOneEqualRecord(t *testing.T) {
	t.Parallel()
	const file = "host app web all md5\r\n" +
		"host app  \"web\" all md5 # ours\r\n" +
		"host app web all md5 map=x\n" +
		"host \\\n app web \\\n all md5\n" +
		"host app WEB all md5\n"
	f := Parse([]byte(file))
	r := rule(t, "host app web all md5")
	for i, want := range []string{
		"host app  \"web\" all md5 # ours\r\nhost app web all md5 map=x\nhost \\\n app web \\\n all md5\nhost app WEB all md5\n",
		"host app web all md5 map=x\nhost \\\n app web \\\n all md5\nhost app WEB all md5\n",
		"host app web all md5 map=x\nhost app WEB all md5\n",
	} {
		if !f.Remove(r) {
			t.Fatalf("%d: nothing removed", i)
		}
		if diff := cmp.Diff(want, string(f.Bytes())); diff != "" {
			t.Errorf("%d: %s", i, diff)
		}
	}
	if f.Remove(r) {
		t.Error("removed a record that is not equal")
	}
	if f.Remove(rule(t, "host \"all\" web all md5")) || Parse([]byte("host all web all md5")).Remove(rule(t, "host \"all\" web all md5")) {
		t.Error("a quoted keyword is not the keyword")
	}
}

func TestShadowShowsWhereTheTroubleIs(t *testing.T) {
	t.Parallel()
	r := rule(t, repl)
	for file, want := range map[string]Rule{
		"\n\nhost replication all all reject\n": {
			Type: "host", Databases: []Token{{Value: "replication"}}, Users: []Token{{Value: "all"}},
			Address: "all", Method: "reject", Line: 3,
		},
		"# \\\n\ninclude_dir x\n": {Type: "include_dir", Line: 3},
		"hosst replication\n":     {Type: "hosst", Line: 1},
	} {
		got, ok := Parse([]byte(file)).Shadow(r)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			t.Errorf("%q: %v %s", file, ok, diff)
		}
	}
	for _, file := range []string{"", repl, "host all all all reject\n", repl + "\nhost replication all all reject"} {
		if got, ok := Parse([]byte(file)).Shadow(r); ok {
			t.Errorf("%q: shadowed by %+v", file, got)
		}
	}
}
