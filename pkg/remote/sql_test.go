package remote_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

const hba = `
hostssl replication replicator 127.0.0.1/32 scram-sha-256
hostnossl replication plain 127.0.0.1/32 scram-sha-256
host replication either 127.0.0.1/32 scram-sha-256
`

func database(pg *remotetest.Postgres) host.Database {
	return host.Database{As: "postgres", SocketDir: pg.SocketDir, Port: pg.Port, Application: "pgrepctl test"}
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func openSQL(t *testing.T, c host.Host, db host.Database) host.SQL {
	t.Helper()
	s, err := c.SQL(limited(t), db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLOverRealSSHD(t *testing.T) {
	t.Parallel()
	pg := remotetest.StartPostgres(t, hba)
	sshd := remotetest.StartSSHD(t, remotetest.SSHDConfig{Lines: []string{"DisableForwarding yes"}})
	c := dial(t, realTarget(sshd))

	t.Run("rows are decoded", func(t *testing.T) { rowsAreDecoded(t, openSQL(t, c, database(pg))) })
	t.Run("a session is its own master", func(t *testing.T) { sessionSettings(t, c, database(pg)) })
	t.Run("errors of the server are typed", func(t *testing.T) { serverErrors(t, c, database(pg)) })
	t.Run("a cancelled query leaves the session", func(t *testing.T) { cancelledQuery(t, openSQL(t, c, database(pg))) })
	t.Run("large results arrive", func(t *testing.T) { largeResult(t, openSQL(t, c, database(pg))) })
	t.Run("nothing stays prepared", func(t *testing.T) { nothingPrepared(t, openSQL(t, c, database(pg))) })
	t.Run("a terminated backend is lost", func(t *testing.T) { terminatedBackend(t, c, pg) })
	t.Run("replication logins", func(t *testing.T) { replicationLogins(t, c, pg) })
	t.Run("a session of its own outlives the others", func(t *testing.T) { ownConnection(t, sshd, pg, false) })
	t.Run("so does one on a connection that was made ahead", func(t *testing.T) { ownConnection(t, sshd, pg, true) })
	t.Run("a killed connection is lost", func(t *testing.T) { killedConnection(t, pg) })
	t.Run("closing ends a query that is waited for", func(t *testing.T) { closedInAQuery(t, c, pg) })
	t.Run("no server is ErrNoServer", func(t *testing.T) { noServer(t, c, pg) })
}

func rowsAreDecoded(t *testing.T, s host.SQL) {
	type row struct {
		N    int64     `json:"n"`
		Text *string   `json:"text"`
		Yes  bool      `json:"yes"`
		At   time.Time `json:"at"`
		Tags []string  `json:"tags"`
	}
	var got []row
	err := s.Query(limited(t), &got, `select $1::int8 as n, $2::text as text, $3::bool as yes, '2020-01-02 03:04:05+00'::timestamptz as at, $4::text[] as tags
		union all select 2, null, false, '2020-01-02 03:04:05+00', '{}' order by n desc -- comment;`,
		int64(9007199254740993), "o'ne\\ \u00e4", true, []string{`a"b`, `c\d`, "e,f", ""})
	if err != nil {
		t.Fatal(err)
	}
	text, at := "o'ne\\ \u00e4", time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []row{{9007199254740993, &text, true, at, []string{`a"b`, `c\d`, "e,f", ""}}, {2, nil, false, at, []string{}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = nil
	if err := s.Query(limited(t), &got, "select 1 as n where false;"); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no rows: got %v, %v", got, err)
	}
	if err := s.Query(limited(t), &got, "select $1 as n", struct{}{}); err == nil || !strings.Contains(err.Error(), "$1") {
		t.Errorf("unsupported argument: got %v", err)
	}
}

func sessionSettings(t *testing.T, c host.Host, db host.Database) {
	for _, setting := range []string{"statement_timeout = '5min'", "lock_timeout = '1s'", "default_transaction_isolation = serializable", "default_transaction_read_only = on"} {
		if err := openSQL(t, c, db).Exec(limited(t), "alter role current_user set "+setting); err != nil {
			t.Fatal(err)
		}
	}
	s := openSQL(t, c, db)
	defer func() {
		if err := s.Exec(context.WithoutCancel(t.Context()), "alter role current_user reset all"); err != nil {
			t.Error(err)
		}
	}()
	var got []struct{ Name, Setting string }
	err := s.Query(limited(t), &got, `select name, setting from pg_settings where name in
		('application_name', 'client_min_messages', 'default_transaction_isolation', 'default_transaction_read_only', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'lc_messages', 'lock_timeout', 'statement_timeout') order by name`)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ Name, Setting string }{
		{"application_name", "pgrepctl test"}, {"client_min_messages", "warning"},
		{"default_transaction_isolation", "read committed"}, {"default_transaction_read_only", "off"}, {"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"}, {"lc_messages", "C"}, {"lock_timeout", "0"}, {"statement_timeout", "0"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func serverErrors(t *testing.T, c host.Host, db host.Database) {
	s := openSQL(t, c, db)
	var e *host.SQLError
	if err := s.Exec(limited(t), "select 1; select * from nowhere"); !errors.As(err, &e) || e.Code != "42P01" {
		t.Errorf("exec: got %v", err)
	}
	var rows []struct{}
	if err := s.Query(limited(t), &rows, "select 1/0"); !errors.As(err, &e) || e.Code != "22012" {
		t.Errorf("query: got %v", err)
	}
	if err := s.Exec(limited(t), "select 1"); err != nil {
		t.Errorf("the session did not survive: %v", err)
	}
	db.Name = "nowhere"
	if _, err := c.SQL(limited(t), db); !errors.As(err, &e) || e.Code != "3D000" {
		t.Errorf("database: got %v", err)
	}
	db.Name, db.User = "", "somebody"
	_, err := c.SQL(limited(t), db)
	if !errors.As(err, &e) || e.Code != "28000" {
		t.Errorf("role: got %v", err)
	}
	// peer lets no OS user in under another name.
	mustHint(t, err, fault.Auth, "correct superuser", "pg_ident.conf: pgrepctl "+db.As+" somebody", "local all somebody peer map=pgrepctl")
}

func cancelledQuery(t *testing.T, s host.SQL) {
	if err := s.Exec(limited(t), "create temp table kept (n int)"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(limited(t), 500*time.Millisecond)
		start := time.Now()
		err := s.Exec(ctx, "select pg_sleep(100)")
		cancel()
		var e *host.SQLError
		if !errors.As(err, &e) || e.Code != "57014" || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("took %s", took)
		}
		if err := s.Exec(limited(t), "insert into kept values (1)"); err != nil {
			t.Fatalf("the session did not survive: %v", err)
		}
	}
	select {
	case <-s.Lost():
		t.Error("lost")
	default:
	}
}

func largeResult(t *testing.T, s host.SQL) {
	var got []struct {
		S string `json:"s"`
	}
	if err := s.Query(limited(t), &got, "select repeat('x', 1000) as s from generate_series(1, 20000)"); err != nil {
		t.Fatal(err)
	}
	if len(got) != 20000 || len(got[19999].S) != 1000 {
		t.Errorf("got %d rows", len(got))
	}
}

func nothingPrepared(t *testing.T, s host.SQL) {
	var got []struct {
		N int `json:"n"`
	}
	for range 2 {
		if err := s.Query(limited(t), &got, "select count(*) as n from pg_prepared_statements where name <> ''"); err != nil || got[0].N != 0 {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

func mustBeLost(t *testing.T, s host.SQL) {
	t.Helper()
	select {
	case <-s.Lost():
	case <-time.After(30 * time.Second):
		t.Fatal("not lost")
	}
	if err := s.Exec(limited(t), "select 1"); !errors.Is(err, remote.ErrLost) {
		t.Errorf("got %v", err)
	}
}

func terminatedBackend(t *testing.T, c host.Host, pg *remotetest.Postgres) {
	db := database(pg)
	db.Application = "victim"
	s := openSQL(t, c, db)
	pg.Query(t, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'")
	mustBeLost(t, s)
}

func ownConnection(t *testing.T, sshd *remotetest.SSHD, pg *remotetest.Postgres, ahead bool) {
	pool := remote.NewPool([]remote.Target{realTarget(sshd)})
	defer func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}()
	h, err := pool.Dial(limited(t), "pg1")
	if err != nil {
		t.Fatal(err)
	}
	if ahead {
		h.(*remote.Conn).ConnectAhead(limited(t))
	}
	db := database(pg)
	db.Own = true
	s := openSQL(t, h, db)
	if n := pool.Connections("pg1"); n != 2 {
		t.Errorf("%d connections", n)
	}
	if err := h.(*remote.Conn).Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(limited(t), "select 1"); err != nil {
		t.Error(err)
	}
}

func killedConnection(t *testing.T, pg *remotetest.Postgres) {
	sshd := remotetest.StartSSHD(t, remotetest.SSHDConfig{})
	c := dial(t, realTarget(sshd))
	db := database(pg)
	db.Application = "orphan"
	s := openSQL(t, c, db)
	failed := make(chan error, 1)
	go func() { failed <- s.Exec(limited(t), "select pg_sleep(100)") }()
	alive := "select count(*) from pg_stat_activity where application_name = 'orphan' and state = 'active'"
	if !remotetest.Await(t, 30*time.Second, func() bool { return pg.Query(t, alive) == "1" }) {
		t.Fatal("the query does not run")
	}
	sshd.KillSessions(t)
	if err := <-failed; !errors.Is(err, remote.ErrLost) || fault.ClassOf(err) != fault.Unreachable {
		t.Errorf("got %v", err)
	}
	mustBeLost(t, s)
	// client_connection_check_interval ends the backend of a client that went
	// away in the middle of a query.
	if !remotetest.Await(t, 40*time.Second, func() bool { return pg.Query(t, alive) == "0" }) {
		t.Error("the backend outlives its client")
	}
}

func closedInAQuery(t *testing.T, c host.Host, pg *remotetest.Postgres) {
	db := database(pg)
	db.Application = "closed"
	s := openSQL(t, c, db)
	failed := make(chan error, 1)
	go func() { failed <- s.Exec(limited(t), "select pg_sleep(100)") }()
	alive := "select count(*) from pg_stat_activity where application_name = 'closed' and state = 'active'"
	if !remotetest.Await(t, 30*time.Second, func() bool { return pg.Query(t, alive) == "1" }) {
		t.Fatal("the query does not run")
	}
	if err := s.Close(limited(t)); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-failed; !errors.Is(err, remote.ErrLost) {
		t.Errorf("the query: got %v", err)
	}
	if !remotetest.Await(t, 40*time.Second, func() bool { return pg.Query(t, alive) == "0" }) {
		t.Error("the backend outlives its client")
	}
}

func noServer(t *testing.T, c host.Host, pg *remotetest.Postgres) {
	db := database(pg)
	db.Port++
	if _, err := c.SQL(limited(t), db); !errors.Is(err, host.ErrNoServer) {
		t.Errorf("no socket: got %v", err)
	}
	pg.Stop(t)
	if _, err := c.SQL(limited(t), database(pg)); !errors.Is(err, host.ErrNoServer) {
		t.Errorf("server killed: got %v", err)
	}
}

func replicationLogins(t *testing.T, c host.Host, pg *remotetest.Postgres) {
	for _, role := range []string{"replicator", "plain", "either"} {
		pg.Query(t, "create role "+role+" login replication password 'correct'")
	}
	id := pg.Query(t, "select system_identifier from pg_control_system()")
	for _, x := range []struct {
		user, password, mode, address, binding string
		root                                   []byte
		code                                   string // SQLSTATE; empty: it works
		fails                                  string // else, in the error's text
	}{
		{user: "replicator", mode: "require"},
		{user: "replicator", mode: "prefer"},
		{user: "replicator", mode: ""},
		{user: "replicator", mode: "allow"},
		{user: "replicator", mode: "disable", code: "28000"},
		{user: "replicator", mode: "require", password: "wrong", code: "28P01"},
		{user: "plain", mode: "disable"},
		{user: "plain", mode: "allow"},
		{user: "plain", mode: "prefer"},
		{user: "plain", mode: "require", code: "28000"},
		{user: "either", mode: "verify-ca", root: pg.RootCert},
		{user: "either", mode: "require", root: pg.RootCert},
		{user: "either", mode: "verify-full", root: pg.RootCert, address: "localhost"},
		{user: "either", mode: "verify-full", root: pg.RootCert, fails: "127.0.0.1"},
		{user: "either", mode: "verify-ca", root: otherRoot(t), fails: "unknown authority"},
		{user: "either", mode: "verify-ca", fails: "root certificate"},
		{user: "either", mode: "require", binding: "require"},
		{user: "either", mode: "require", binding: "require", password: "wrong", code: "28P01"},
		{user: "plain", mode: "disable", binding: "require", fails: "channel binding required"},
		{user: "nobody", mode: "prefer", code: "28000"},
		{user: "either", mode: "sometimes", fails: "sslmode"},
	} {
		l := host.Login{Address: "127.0.0.1", Port: pg.Port, User: x.user, Password: secret.New("correct"), SSLMode: x.mode, SSLRootCert: x.root, Binding: x.binding}
		if x.password != "" {
			l.Password = secret.New(x.password)
		}
		if x.address != "" {
			l.Address = x.address
		}
		got, err := c.ReplicationLogin(limited(t), l)
		var e *host.SQLError
		switch {
		case x.code != "":
			if !errors.As(err, &e) || e.Code != x.code {
				t.Errorf("%+v: got %v", x, err)
			}
		case x.fails != "":
			if err == nil || !strings.Contains(err.Error(), x.fails) {
				t.Errorf("%s %s: got %v", x.user, x.mode, err)
			}
		case err != nil || got.ID != id || !strings.Contains(got.LSN, "/"):
			t.Errorf("%s %s: got %+v, %v", x.user, x.mode, got, err)
		}
	}
	_, err := c.ReplicationLogin(limited(t), host.Login{Address: "127.0.0.1", Port: remotetest.FreePort(t), User: "x", SSLMode: "prefer"})
	if !errors.Is(err, host.ErrNoServer) {
		t.Errorf("closed port: got %v", err)
	}
}

// otherRoot is an authority that has signed nothing.
func otherRoot(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
