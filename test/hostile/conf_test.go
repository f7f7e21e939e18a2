package hostile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// confFile is included by the server's postgresql.conf.
const confFile = "hostile.conf"

// lines gives the ways out of a setting's value: into another line, and into
// another file.
func (p *postgres) lines(i int) []string {
	x := fmt.Sprintf("hostile.c%d = 'x'", i)
	return []string{
		"'\n" + x + "\n'", "' # \n" + x, `\'` + "\n" + x + "\n", "''\n" + x, "\n" + x + "\n", "\r" + x + "\r", "\r\n" + x, `\n` + x, `\012` + x, "'; " + x, "' " + x,
		"#'\n" + x, "\ninclude '" + p.dir + "/conf'\n", "'\ninclude_dir '" + p.dir + "'", `\` + "\n" + x, x, "'" + x + "'",
	}
}

// settings: many values in one file, which the server's own view reads, and
// which are then in force.
func settings(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("postgresql.conf value")
	remotetest.WriteFile(t, filepath.Join(p.dir, "conf"), []byte("hostile.included = 'x'\n"))
	if err := os.Chmod(filepath.Join(p.dir, "conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	for first, batch := range batches(generate(*seed, *size, p.lines, rarely(4, everything, noLine)), 1000, 1<<22) {
		file := conf.Parse(bases(len(batch))[first/1000%3])
		sent := map[int]string{}
		for i, x := range batch {
			if err := file.Set(name(i), x); err != nil {
				s.refused(t, x, noLine(x), err)
				continue
			}
			sent[i] = x
		}
		generation := fmt.Sprint(first)
		if err := file.Set("test.generation", generation); err != nil {
			t.Fatal(err)
		}
		seen := p.read(t, file.Bytes())
		p.reload(t, generation)
		force := p.exec(t, fmt.Sprintf("select i, current_setting('test.k' || i, true) from generate_series(0, %d) i order by i", len(batch)-1))
		for i := range batch {
			x, ok := sent[i]
			if !ok {
				delete(seen, name(i)) // the value that the file had before
				continue
			}
			got, ok := seen[name(i)]
			if !ok {
				got = "nothing\x00"
			} else if got == x {
				got = column(force, i, 1)
			}
			s.came(t, x, got)
			delete(seen, name(i))
		}
		delete(seen, "test.generation")
		s.made(t, seen)
	}
	s.executed += p.executed(t)
}

// made counts settings that nobody wrote.
func (t *tally) made(tb testing.TB, seen map[string]string) {
	tb.Helper()
	for x := range seen {
		tb.Errorf("%s: setting %q was made", t.sink, x)
		t.executed++
	}
}

func name(i int) string { return fmt.Sprintf("test.k%d", i) }

// bases are what an operator may have written before: nothing, and lines with a
// value in each spelling.
func bases(n int) [3][]byte {
	var quoted, bare bytes.Buffer
	for i := range n {
		fmt.Fprintf(&quoted, "test.k%d = 'it''s' # comment 'x\n", i)
		fmt.Fprintf(&bare, "test.k%d=old\r\n", i)
	}
	return [3][]byte{nil, quoted.Bytes(), bare.Bytes()}
}

// settingNames: a name is refused unless it is one.
func settingNames(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("postgresql.conf name")
	for _, batch := range batches(generate(*seed, *size, p.lines, everything), 1000, 1<<22) {
		var sent []string
		file := conf.Parse(nil)
		for _, x := range batch {
			if err := file.Set(x, "v"); err != nil {
				s.refused(t, x, noSetting(x), err)
				continue
			}
			sent = append(sent, x)
		}
		seen := p.read(t, file.Bytes())
		for _, x := range sent {
			got := "nothing\x00"
			if seen[x] == "v" {
				got = x
			}
			s.came(t, x, got)
			delete(seen, x)
		}
		s.made(t, seen)
	}
	p.write(t, confFile, nil)
	s.executed += p.executed(t)
}

func (p *postgres) include(t testing.TB) {
	t.Helper()
	p.write(t, confFile, nil)
	p.write(t, "postgresql.conf", []byte("include '"+confFile+"'\n"))
}

func (p *postgres) write(t testing.TB, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.DataDir, file), data, 0o644); err != nil { //nolint:gosec // the server reads it as its own user
		t.Fatal(err)
	}
}

// read is how the server reads confFile with these bytes.
func (p *postgres) read(t testing.TB, data []byte) map[string]string {
	t.Helper()
	p.write(t, confFile, data)
	seen := map[string]string{}
	for _, row := range p.exec(t, "select name, setting, error, sourceline from pg_file_settings where sourcefile like '%/"+confFile+"'") {
		if strings.Contains(row[2], "syntax error") {
			t.Fatalf("line %s: %s", row[3], row[2])
		}
		seen[row[0]] = row[1]
	}
	return seen
}

func (p *postgres) reload(t testing.TB, generation string) {
	t.Helper()
	p.exec(t, "select pg_reload_conf()")
	if !remotetest.Await(t, time.Minute, func() bool {
		return column(p.exec(t, "select current_setting('test.generation', true)"), 0, 0) == generation
	}) {
		t.Fatal("the server did not take the file")
	}
}

func noLine(s string) string {
	if strings.ContainsAny(s, "\x00\r\n") {
		return "NUL or line break"
	}
	return ""
}

// noSetting: letters, digits and underscores, with at most one dot.
func noSetting(s string) string {
	first := true
	dots := 0
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		switch {
		case c == '.' && !first:
			first = true
			dots++
			continue
		case !letter && (first || c < '0' || c > '9'):
			return "character"
		}
		first = false
	}
	if first || dots > 1 || strings.HasPrefix(s, "include") {
		return "no name, or a directive"
	}
	return ""
}
