package hostile

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// postgres is a real server with a superuser "hostile", and the table c, which
// gets a row when a string is executed as SQL.
type postgres struct {
	*remotetest.Postgres
	pg *pgconn.PgConn
	canary
}

// server: the sinks that PostgreSQL reads, one after the other, for some of
// them are its own files.
func server(t *testing.T, l *ledger) {
	p := &postgres{Postgres: remotetest.StartPostgres(t, ownRule), canary: newCanary(t)}
	p.Query(t, "create role hostile superuser login")
	p.Query(t, "create database hostile template template0 encoding 'UTF8' locale 'C'")
	p.pg = p.connect(t, "hostile")
	p.exec(t, "create table c (i int)")
	p.include(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, *ledger, *postgres)
	}{
		{"literals", literals}, {"column names", columns}, {"roles", roles}, {"slots", slots}, {"postgresql.conf", settings}, {"setting names", settingNames},
		{"pg_hba.conf", records}, {"logins", logins}, {"conninfo", conninfos}, {"passfile", passfiles},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, l, p) })
	}
}

const ownRule = "local hostile hostile trust\n"

func (p *postgres) connect(t testing.TB, user string) *pgconn.PgConn {
	t.Helper()
	pg, err := p.login(t, user)
	if err != nil {
		t.Fatal(err)
	}
	return pg
}

func (p *postgres) login(t testing.TB, user string) (*pgconn.PgConn, error) {
	t.Helper()
	cfg, err := pgconn.ParseConfig("sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Host, cfg.Port, cfg.User, cfg.Database, cfg.Fallbacks = p.SocketDir, uint16(p.Port), user, "hostile", nil
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err == nil {
		t.Cleanup(func() { _ = pg.Close(context.WithoutCancel(ctx)) })
	}
	return pg, err
}

// exec runs one or more statements by the simple protocol, as the product does,
// and gives the rows of all of them, as the bytes that the server sent.
func (p *postgres) exec(t testing.TB, sql string) [][]string {
	t.Helper()
	results, err := p.pg.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%v, in %.300q", err, sql)
	}
	var rows [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			var values []string
			for _, v := range row {
				values = append(values, string(v))
			}
			rows = append(rows, values)
		}
	}
	return rows
}

// statements gives the ways out of SQL's quotes and comments, and into a shell.
func (p *postgres) statements(i int) []string {
	x := fmt.Sprintf("insert into c values(%d)", i)
	return []string{
		"';" + x + ";--", `";` + x + ";--", "');" + x + ";--", `\';` + x + ";--", `\";` + x + ";--", "$$;" + x + ";$$", "*/;" + x + ";/*", ";" + x + ";", "\n;" + x + ";\n",
		`\\';` + x + ";--", "';" + x + ";select '", `";` + x + `;select "`, "\xbf';" + x + ";--", "'\n';" + x + ";--", "';copy c to program '" + p.touch(i) + "';--",
	}
}

// executed counts what a string did, also when it was rolled back: the caller
// asks before that.
func (p *postgres) executed(t testing.TB) int {
	t.Helper()
	n := p.canary.executed(t)
	for _, row := range p.exec(t, "select i from c") {
		t.Errorf("string %s was executed as SQL", row[0])
		n++
	}
	return n
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// list joins what each gives.
func list(n int, sep string, each func(i int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = each(i)
	}
	return strings.Join(all, sep)
}
