package hostile

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// rules gives the ways out of a name of pg_hba.conf: into another column,
// record, list or file.
func (p *postgres) rules(int) []string {
	const x = "local all canary trust"
	return []string{
		"\n" + x + "\n", "\r\n" + x + "\r\n", "\r" + x, `"` + "\n" + x, " trust\n" + x, `" trust` + "\n" + x + "\n#", "#\n" + x, `\` + "\n" + x, ",canary", ", canary ,",
		`",canary,"`, `"",canary`, `""",canary,"""`, " canary ", `" canary "`, "+canary", "@" + p.dir + "/names", `@"` + p.dir + `/names"`, "all", "all,canary", `"all"`,
		"\ninclude " + p.dir + "/hba\n", " trust # ", "\tcanary\t", "\vcanary\f", "\u00a0canary",
	}
}

// records: database and user of a rule, as the server's view shows them. It
// reads the file itself, so that nothing has to be reloaded.
func records(t *testing.T, l *ledger, p *postgres) {
	for name, text := range map[string]string{"names": "canary\n", "hba": "local all canary trust\n"} {
		remotetest.WriteFile(t, filepath.Join(p.dir, name), []byte(text))
	}
	s := l.sink("pg_hba.conf name")
	all := generate(*seed, *size, p.rules, rarely(4, everything, noRecord))
	for _, batch := range batches(all, 1000, 1<<22) {
		// A file as an operator left it, and one that ends in the middle of a
		// line.
		file := hba.Parse([]byte("# TYPE DATABASE USER METHOD\r\n" + ownRule + "local \"x\" y reject # the end"))
		count := len(file.Rules())
		for _, x := range batch {
			name, err := hba.Name(x)
			if err != nil {
				s.refused(t, x, noRecord(x), err)
				continue
			}
			rule := hba.Rule{Type: "local", Databases: []hba.Token{name}, Users: []hba.Token{name}, Method: "reject"}
			if _, _, err := file.Ensure(rule, "by the test"); err != nil {
				s.refused(t, x, noRecord(x), err)
				continue
			}
			count++
		}
		rules := file.Rules()
		p.write(t, "pg_hba.conf", file.Bytes())
		rows := p.exec(t, `select database[1], user_name[1], cardinality(database) + cardinality(user_name), auth_method, coalesce(error, '') from pg_hba_file_rules order by line_number`)
		if len(rows) != count || len(rules) != count {
			t.Errorf("%d records were asked for, %d written, the server sees %d", count, len(rules), len(rows))
			s.executed += max(0, len(rows)-count)
		}
		for i, r := range rules {
			if r.Method != "reject" || r.Users[0].Value == "y" {
				continue
			}
			want := r.Users[0].Value
			got := column(rows, i, 0)
			if got == want {
				got = column(rows, i, 1)
			}
			if n, method := column(rows, i, 2), column(rows, i, 3); n != "2" || method != "reject" {
				got = fmt.Sprintf("%s names, %s: %s", n, method, column(rows, i, 4))
			}
			s.came(t, want, got)
		}
	}
	s.executed += p.executed(t)
	p.write(t, "pg_hba.conf", []byte("local all postgres peer\n"+ownRule))
}

// logins: a view does not show what a name means. Each role is let in by its
// own rule, and a bystander, whom every keyword, group and file names, by none.
func logins(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("pg_hba.conf login (sample)")
	s.sample = true
	special := []string{"all", "replication", "sameuser", "samerole", "samegroup", "samehost", "samenet", "+bystanders", "@" + p.dir + "/bystander", "+", "@", "bystander,x", `"all"`, "all,all", "#"}
	made := map[string]bool{"canary": true, "bystander": true, "bystanders": true, "hostile": true}
	remotetest.WriteFile(t, filepath.Join(p.dir, "bystander"), []byte("bystander\n"))
	p.exec(t, "create role bystander login; create role bystanders; grant bystanders to bystander; create role \"canary\" login")
	file := hba.Parse([]byte("local all postgres peer\n" + ownRule))
	var let []string
	for _, x := range append(special, generate(*seed, *size/100, p.rules, rarely(9, everything, noRole))...) {
		if made[x] || pg.ValidRoleName(x) != nil {
			continue
		}
		made[x] = true
		token, err := hba.Name(x)
		if err != nil {
			s.refused(t, x, noRecord(x), err)
			continue
		}
		// The other column: no database has these names.
		for _, r := range []hba.Rule{
			{Type: "local", Databases: []hba.Token{token}, Users: []hba.Token{{Value: "bystander"}}, Method: "trust"},
			{Type: "local", Databases: []hba.Token{{Value: "all"}}, Users: []hba.Token{token}, Method: "trust"},
		} {
			if _, _, err := file.Ensure(r, ""); err != nil {
				t.Fatal(err)
			}
		}
		q, err := pg.QuoteIdent(x)
		if err != nil {
			t.Fatal(err)
		}
		p.exec(t, "create role "+q+" login")
		let = append(let, x)
	}
	p.write(t, "pg_hba.conf", file.Bytes())
	p.write(t, confFile, []byte("test.generation = logins\n"))
	p.reload(t, "logins")
	patience := 30 * time.Second // the postmaster reads the file in its own time
	for _, x := range let {
		got := x
		if !remotetest.Await(t, patience, func() bool {
			pg, err := p.login(t, x)
			if err == nil {
				_ = pg.Close(t.Context())
			} else if !strings.Contains(err.Error(), "no pg_hba.conf entry") {
				t.Fatal(err)
			}
			return err == nil
		}) {
			got, patience = "a stranger", 0
		}
		s.came(t, x, got)
	}
	if _, err := p.login(t, "bystander"); err == nil {
		t.Error("a rule for somebody else let a bystander in")
		s.executed++
	}
}

func noRecord(s string) string {
	switch {
	case s == "":
		return "empty"
	case strings.HasPrefix(s, "/"):
		return "a regular expression from 16 on"
	case len(s) > 63:
		return "too long"
	case strings.ContainsAny(s, "\x00\r\n"):
		return "NUL or line break"
	}
	return ""
}

// loginOnce waits until the postmaster has read pg_hba.conf again.
func (p *postgres) loginOnce(t testing.TB) {
	t.Helper()
	if !remotetest.Await(t, 30*time.Second, func() bool {
		pg, err := p.login(t, "bystander")
		if err == nil {
			_ = pg.Close(t.Context())
		}
		return err == nil
	}) {
		t.Fatal("the server did not read pg_hba.conf again")
	}
}
