package hostile

import (
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

//go:embed libpq.py
var libpqScript string

// libpq gives texts to the library that walreceiver and psql use, and returns
// its answers, as libpq.py writes them.
func libpq(t testing.TB, what string, texts []string) string {
	t.Helper()
	python := remotetest.Program(t, "python3", "/usr/bin/python3")
	cmd := exec.Command(python, "-c", libpqScript, what)
	cmd.Env = []string{"HOME=/nonexistent"} // no PGUSER and no ~/.pgpass
	cmd.Stdin = strings.NewReader(strings.Join(texts, "\x00") + "\x00")
	var errs strings.Builder
	cmd.Stderr = &errs
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("libpq: %v: %s", err, errs.String())
	}
	return string(b)
}

// parameters gives the ways out of a conninfo value: into another keyword.
func parameters(int) []string {
	const x = "options=canary"
	return []string{
		" " + x, "' " + x, "' " + x + " user='", `\' ` + x + ` \'`, `\\' ` + x, "\t" + x, "\n" + x + "\n", "\v" + x + "\f", `\ ` + x, "''" + x, "'" + x, x,
		"postgres://u:p@h/d?" + x, "host=a,b " + x, `'\'' ` + x, "$(" + x + ")", "= " + x,
	}
}

// conninfos are read by libpq after the server has read the line of its
// configuration that holds them, as primary_conninfo is.
func conninfos(t *testing.T, l *ledger, p *postgres) {
	alone, inConf := l.sink("conninfo"), l.sink("conninfo in postgresql.conf")
	for _, batch := range batches(generate(*seed, *size, parameters, everything), 1000, 1<<22) {
		var sent, texts []string
		file := conf.Parse(nil)
		stored := map[int]bool{}
		for _, x := range batch {
			params := []pg.Param{{Key: "host", Value: "h"}, {Key: "user", Value: x}, {Key: "application_name", Value: x}, {Key: "sslmode", Value: "disable"}}
			text, err := pg.Conninfo(params)
			if err != nil {
				alone.refused(t, x, hasNUL(x), err)
				inConf.refused(t, x, hasNUL(x), err)
				continue
			}
			if back, err := pg.ParseConninfo(text); err != nil || !cmp.Equal(params, back) {
				t.Errorf("our own reader makes %v of %q: %v", back, text, err)
			}
			if err := file.Set(name(len(sent)), text); err != nil {
				inConf.refused(t, x, noLine(x), err)
			} else {
				stored[len(sent)] = true
			}
			sent, texts = append(sent, x), append(texts, text)
		}
		seen := p.read(t, file.Bytes())
		through := make([]string, len(texts))
		for i := range through {
			through[i] = seen[name(i)]
			delete(seen, name(i))
		}
		inConf.made(t, seen)
		first, second := params(libpq(t, "parse", texts)), params(libpq(t, "parse", through))
		for i, x := range sent {
			alone.came(t, x, first[i].only(x))
			if stored[i] {
				inConf.came(t, x, second[i].only(x))
			}
		}
	}
	p.write(t, confFile, nil)
	psql(t, l, p)
}

// keywords is what one conninfo gives.
type keywords map[string]string

func params(answer string) []keywords {
	var all []keywords
	one := keywords{}
	words := strings.Split(answer, "\x00")
	for i := 0; i < len(words)-1; i++ {
		if words[i] == "" {
			all, one = append(all, one), keywords{}
			continue
		}
		one[words[i]] = words[i+1]
		i++
	}
	return all
}

// only is x, if x is what it has to be and nothing else is given.
func (k keywords) only(x string) string {
	if cmp.Equal(keywords{"host": "h", "user": x, "application_name": x, "sslmode": "disable"}, k) {
		return x
	}
	return fmt.Sprintf("%q\x00", k)
}

// psql logs in by a conninfo, as the role that it names.
func psql(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("conninfo, login by psql (sample)")
	s.sample = true
	var names []string
	for _, x := range generate(*seed, *size/100, parameters, rarely(9, everything, noRole)) {
		if pg.ValidRoleName(x) == nil {
			names = append(names, x)
		}
	}
	p.write(t, "pg_hba.conf", []byte("local all postgres peer\nlocal hostile all trust\n"))
	p.write(t, confFile, []byte("test.generation = psql\n"))
	p.reload(t, "psql")
	p.loginOnce(t)
	for _, x := range names {
		q, err := pg.QuoteIdent(x)
		if err != nil {
			t.Fatal(err)
		}
		p.exec(t, "drop role if exists "+q+"; create role "+q+" login")
		text, err := pg.Conninfo([]pg.Param{{Key: "host", Value: p.SocketDir}, {Key: "port", Value: strconv.Itoa(p.Port)}, {Key: "user", Value: x}, {Key: "dbname", Value: "hostile"}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := exec.Command(remotetest.Program(t, "postgresql-client", "/usr/bin/psql"), "-XAtq0", "-c", "select current_user", "-d", text).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s", err, b)
		}
		s.came(t, x, strings.TrimSuffix(string(b), "\x00"))
	}
	s.executed = p.executed(t)
}

// passfiles: libpq finds the password of a role in a file, past the lines of
// the others.
func passfiles(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("password file")
	file := filepath.Join(t.TempDir(), "pgpass")
	for _, batch := range batches(generate(*seed, *size, passwords, rarely(4, everything, noPassword)), 100, 1<<22) {
		var sent, asked []string
		var lines strings.Builder
		for i, x := range batch {
			user := fmt.Sprintf("%d%s", i, x)
			line, err := pg.PassfileLine("h", 1, "replication", user, secret.New(x))
			if err != nil {
				s.refused(t, x, noPassword(x), err)
				continue
			}
			lines.WriteString(line.Reveal())
			text, err := pg.Conninfo([]pg.Param{{Key: "hostaddr", Value: "127.0.0.1"}, {Key: "host", Value: "h"}, {Key: "port", Value: "1"}, {Key: "user", Value: user}, {Key: "dbname", Value: "replication"}, {Key: "passfile", Value: file}})
			if err != nil {
				t.Fatal(err)
			}
			sent, asked = append(sent, x), append(asked, text)
		}
		remotetest.WriteFile(t, file, []byte(lines.String()))
		got := split(libpq(t, "password", asked))
		for i, x := range sent {
			s.came(t, x, at(got, i))
		}
	}
	s.executed = p.executed(t)
}

// passwords gives the ways out of a field and of a line.
func passwords(int) []string {
	const x = "*:*:*:*:canary"
	return []string{":" + x, "\n" + x + "\n", `\:` + x, `\` + "\n" + x, "\r\n" + x, `\\:` + x, "#" + x, `\`, ":", x, "\n#\n" + x, "\x00" + x}
}

func noPassword(s string) string {
	switch {
	case s == "":
		return "empty"
	case strings.ContainsAny(s, "\x00\r\n"):
		return "NUL or line break"
	}
	return ""
}
