package remote

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

const (
	// cancelGrace is how long a cancelled query may take to end before the
	// session is given up.
	cancelGrace = 10 * time.Second
	// loginGrace bounds the login to a server when ctx does not.
	loginGrace = 30 * time.Second
	// consoleDatabase is the name that PgBouncer reserves for its console,
	// which knows no SET.
	consoleDatabase = "pgbouncer"
)

// session implements host.SQL.
type session struct {
	conn *Conn // of its own; nil when shared
	host string
	lost <-chan struct{}

	// mu is held while pg is used: pgx lets one goroutine use a connection, its
	// Close too, and a session is closed while another still waits for an answer.
	mu sync.Mutex
	pg *pgconn.PgConn
}

var _ host.SQL = (*session)(nil)

// SQL implements host.Host. A server that is down, or whose socket is
// elsewhere, is host.ErrNoServer; a refusal by the server is *host.SQLError.
func (c *Conn) SQL(ctx context.Context, db host.Database) (host.SQL, error) {
	via := c
	if db.Own {
		own, err := c.own(ctx)
		if err != nil {
			return nil, err
		}
		via = own
	}
	s, err := via.openSQL(ctx, db)
	if err != nil {
		if via != c {
			err = errors.Join(err, via.Close())
		}
		return nil, err
	}
	if via != c {
		s.conn = via
	}
	return s, nil
}

func (c *Conn) openSQL(ctx context.Context, db host.Database) (*session, error) {
	if db.User == "" {
		db.User = db.As
	}
	if db.User == "" {
		db.User = c.user
	}
	if db.Name == "" {
		db.Name = "postgres"
	}
	if !path.IsAbs(db.SocketDir) {
		return nil, fmt.Errorf("open SQL session: socket directory %q is not absolute", db.SocketDir)
	}
	cfg, err := pgConfig(db.SocketDir, db.Port, db.User)
	if err != nil {
		return nil, err
	}
	cfg.Database = db.Name
	cfg.RuntimeParams = map[string]string{"client_encoding": "UTF8"}
	if db.Application != "" {
		cfg.RuntimeParams["application_name"] = db.Application
	}
	var wires bridges
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return wires.add(c.bridgeToServer(ctx, db))
	}
	cfg.BuildContextWatcherHandler = func(pg *pgconn.PgConn) ctxwatch.Handler {
		// The default closes the connection: backup mode and locks would end
		// with every cancelled query.
		return &pgconn.CancelRequestContextWatcherHandler{Conn: pg, DeadlineDelay: cancelGrace}
	}
	pg, err := connectPG(ctx, cfg, &wires)
	if strings.HasPrefix(host.SQLState(err), "28") { // invalid authorization
		return nil, &fault.Error{
			Class: fault.Auth, Host: c.Name(), Op: "open SQL session", Err: err,
			Hint: socketHint(cmp.Or(db.As, c.user), db.User),
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open SQL session on %s: %w", c.Name(), err)
	}
	s := &session{host: c.Name(), pg: pg, lost: wires.first().over}
	if db.Name == consoleDatabase {
		return s, nil
	}
	if err := s.Exec(ctx, sessionSettings(pg)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare SQL session on %s: %w", c.Name(), err), s.Close(ctx))
	}
	return s, nil
}

// socketHint: peer compares names, so an OS user is let in as a role of another name by
// a map only.
func socketHint(as, role string) string {
	if role == as {
		return fmt.Sprintf("pg_hba.conf must let the OS user in through the socket: local all %s peer", role)
	}
	return fmt.Sprintf("superuser in the inventory is %s, and the OS user is %s: correct superuser; or map it, in pg_ident.conf: pgrepctl %s %s, and in pg_hba.conf: local all %s peer map=pgrepctl",
		role, as, as, role, role)
}

func (c *Conn) bridgeToServer(ctx context.Context, db host.Database) (*bridged, error) {
	name := path.Join(db.SocketDir, ".s.PGSQL."+strconv.Itoa(db.Port))
	return c.bridge(ctx, db.As, &net.UnixAddr{Name: name, Net: "unix"}, "unix", name)
}

// bridges remembers the bridges of one pgx connection: the first is the
// session, later ones carry cancel requests.
type bridges struct {
	mu  sync.Mutex
	all []*bridged
	err error
}

func (w *bridges) add(b *bridged, err error) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = err
		return nil, err
	}
	w.all = append(w.all, b)
	return b, nil
}

// first is the bridge of the session: of several attempts (sslmode prefer) the
// last one that was made while connecting.
func (w *bridges) first() *bridged {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[len(w.all)-1]
}

// connectPG logs in and gives errors that do not repeat pgx's preamble.
func connectPG(ctx context.Context, cfg *pgconn.Config, wires *bridges) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginGrace, errTimeout)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err == nil {
		return pg, nil
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return nil, sqlError(server)
	}
	wires.mu.Lock()
	defer wires.mu.Unlock()
	if wires.err != nil {
		return nil, wires.err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, b := range wires.all {
		// socat says only now why it could not connect.
		if e := socatError(b); e != nil {
			return nil, e
		}
	}
	return nil, err
}

func socatError(b *bridged) error {
	if !b.process.endsWithin(time.Second) {
		return nil
	}
	said := host.Tail(b.process.stderr.String(), 1)
	for text, errno := range map[string]int{
		"No such file or directory": enoent, "Connection refused": econnrefused, "Permission denied": eacces,
	} {
		if strings.HasSuffix(said, text) {
			return b.process.conn.bridgeFault(b.process.cmd.As, &bridgeError{to: b.addr.String(), errno: errno, text: text})
		}
	}
	return nil
}

// pgConfig is a configuration that owes nothing to PG* variables, ~/.pgpass or
// a service file of the operator.
func pgConfig(address string, port int, user string) (*pgconn.Config, error) {
	dsn := fmt.Sprintf("host=%s port=%d user=%s sslmode=disable sslrootcert='' sslcert='' sslkey='' passfile=/dev/null target_session_attrs=any",
		dsnQuote(address), port, dsnQuote(user))
	if os.Getenv("PGSERVICE") != "" {
		// pgx would refuse an unknown service; give it an empty one.
		f, err := os.CreateTemp("", "pgrepctl-service-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.Remove(f.Name()) }()
		_, err = f.WriteString("[pgrepctl]\n")
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		dsn += " service=pgrepctl servicefile=" + dsnQuote(f.Name())
	}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("configure SQL session: %w", err)
	}
	cfg.Password, cfg.Fallbacks, cfg.RuntimeParams = "", nil, nil
	cfg.ConnectTimeout, cfg.ValidateConnect, cfg.AfterConnect = 0, nil, nil
	cfg.SSLNegotiation, cfg.SSLCertMode, cfg.RequireAuth, cfg.ChannelBinding = "", "", "", "prefer"
	cfg.MinProtocolVersion, cfg.MaxProtocolVersion = "3.0", "3.0"
	cfg.LookupFunc = func(_ context.Context, name string) ([]string, error) {
		return []string{name}, nil // resolved on the host
	}
	return cfg, nil
}

func dsnQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// sessionSettings makes a session independent of what ALTER ROLE and
// postgresql.conf set for people. They are one query string: one round trip. A
// version that cannot be read has what every version has.
func sessionSettings(pg *pgconn.PgConn) string {
	v, err := postgres.ParseVersion(pg.ParameterStatus("server_version"))
	if err != nil {
		v = 0
	}
	sql := []string{"SET client_min_messages = warning",
		// A standby refuses serializable, and a primary every change of a session
		// that is read-only by default.
		"SET default_transaction_isolation = 'read committed'", "SET default_transaction_read_only = off"}
	for _, name := range v.TimeoutSettings() {
		sql = append(sql, "SET "+name+" = 0")
	}
	if v.ChecksClientConnection() {
		// Else a busy backend outlives a client that has gone.
		sql = append(sql, "SET client_connection_check_interval = '10s'")
	}
	if pg.ParameterStatus("is_superuser") == "on" {
		sql = append(sql, "SET lc_messages = 'C'")
	}
	return strings.Join(sql, "; ")
}

// Exec implements host.SQL.
func (s *session) Exec(ctx context.Context, sql string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.explain(ctx, s.pg.Exec(ctx, sql).Close())
}

var _ host.Console = (*session)(nil)

// Show implements host.Console.
func (s *session) Show(ctx context.Context, command string) ([]map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, err := s.pg.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	var rows []map[string]string
	for _, r := range results {
		for _, values := range r.Rows {
			row := map[string]string{}
			for i, f := range r.FieldDescriptions {
				row[f.Name] = string(values[i])
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// rowAlias must not be the name of a column: json_agg(x) prefers the column.
const rowAlias = "pgrepctl_row_"

// Query implements host.SQL. It leaves no prepared statement behind.
func (s *session) Query(ctx context.Context, dst any, sql string, args ...any) error {
	params := make([][]byte, len(args))
	for i, a := range args {
		text, err := paramText(a)
		if err != nil {
			return fmt.Errorf("argument $%d: %w", i+1, err)
		}
		params[i] = text
	}
	sql = strings.TrimRight(sql, "; \t\r\n")
	wrapped := "select coalesce(json_agg(" + rowAlias + "), '[]') from (\n" + sql + "\n) " + rowAlias
	s.mu.Lock()
	defer s.mu.Unlock()
	result := s.pg.ExecParams(ctx, wrapped, params, nil, nil, nil).Read()
	if result.Err != nil {
		return s.explain(ctx, result.Err)
	}
	if len(result.Rows) != 1 || len(result.Rows[0]) != 1 {
		return fmt.Errorf("query on %s: unexpected result shape", s.host)
	}
	if err := json.Unmarshal(result.Rows[0][0], dst); err != nil {
		return fmt.Errorf("decode rows from %s: %w", s.host, err)
	}
	return nil
}

// paramText is the text form of an argument; the server finds its type.
func paramText(a any) ([]byte, error) {
	switch v := a.(type) {
	case nil:
		return nil, nil
	case string:
		return []byte(v), nil
	case bool:
		return strconv.AppendBool(nil, v), nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int32:
		return strconv.AppendInt(nil, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(nil, v, 10), nil
	case uint32:
		return strconv.AppendUint(nil, uint64(v), 10), nil
	case uint64:
		return strconv.AppendUint(nil, v, 10), nil
	case float64:
		return strconv.AppendFloat(nil, v, 'g', -1, 64), nil
	case []string:
		return []byte(arrayText(v)), nil
	case fmt.Stringer:
		return []byte(v.String()), nil
	}
	return nil, fmt.Errorf("unsupported type %T", a)
}

// arrayText is an array literal.
func arrayText(items []string) string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return "{" + strings.Join(out, ",") + "}"
}

// explain keeps what the server said and what ctx said: a cancelled query is
// both SQLSTATE 57014 and the context's error.
func (s *session) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		err = sqlError(server)
	}
	switch {
	case ctx.Err() != nil && s.pg.IsClosed():
		return fmt.Errorf("%w: %w: %w", context.Cause(ctx), ErrLost, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case s.pg.IsClosed():
		return &fault.Error{
			Class: fault.Unreachable, Host: s.host, Op: "SQL session", Err: fmt.Errorf("%w: %w", ErrLost, err),
			Hint: "the server or the SSH connection ended it; look with: pgrepctl status",
		}
	}
	return err
}

func sqlError(e *pgconn.PgError) *host.SQLError {
	return &host.SQLError{Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: int(e.Position)}
}

// Lost implements host.SQL.
func (s *session) Lost() <-chan struct{} { return s.lost }

// Close implements host.SQL. Who waits for an answer gets an error.
func (s *session) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cancelGrace)
	defer cancel()
	if !s.mu.TryLock() {
		_ = s.pg.Conn().Close() // the answer is not to come any more
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	err := s.pg.Close(ctx)
	if isClosedErr(err) {
		err = nil
	}
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
	}
	return err
}

// isClosedErr is the end of something that had ended already.
func isClosedErr(err error) bool {
	return errors.Is(err, net.ErrClosed) || dropped(err) || errors.Is(err, os.ErrDeadlineExceeded) || strings.HasSuffix(fmt.Sprint(err), "closed pipe")
}
