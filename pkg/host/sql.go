package host

import (
	"context"
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Database says where a local SQL session goes: the server's unix socket, as
// the OS user that peer authentication expects.
type Database struct {
	As        string // OS user, usually postgres
	SocketDir string // directory of .s.PGSQL.<port>
	Port      int
	User      string // database role; empty = As
	Name      string // database; empty = postgres
	// Application is application_name, at most 63 bytes: it names the run in
	// pg_stat_activity.
	Application string
	// Own asks for an SSH connection of its own, so that a session held for
	// hours does not share the fate of the others.
	Own bool
}

// Lost reports whether a session has ended by itself.
func Lost(s SQL) bool {
	select {
	case <-s.Lost():
		return true
	default:
		return false
	}
}

// ErrNoServer says that nothing listens on the socket: the server does not run.
var ErrNoServer = errors.New("no PostgreSQL server listens there")

// SQL is one PostgreSQL session. It is never reconnected: locks, backup mode
// and temporary slots live and die with it. Safe for use by one goroutine at a
// time.
type SQL interface {
	// Exec sends sql as it is, by the simple protocol.
	Exec(ctx context.Context, sql string) error
	// Query runs one SELECT and decodes its rows, as JSON, into dst, a
	// pointer to a slice of structs with json tags. Arguments are $1, $2…
	Query(ctx context.Context, dst any, sql string, args ...any) error
	// Lost is closed when the connection is gone.
	Lost() <-chan struct{}
	Close(ctx context.Context) error
}

// Console is a session with something that speaks PostgreSQL's protocol and no SQL.
type Console interface {
	// Show sends a command as it is, and returns its rows by the names of their columns.
	Show(ctx context.Context, command string) ([]map[string]string, error)
}

// SQLError is an error that the server reported.
type SQLError struct {
	Code    string // SQLSTATE
	Message string
	Detail  string
	Hint    string
	// Position is that of a character of the statement, from 1; 0: none.
	Position int
}

// SQLState is the code of an error that a server reported, "" of any other.
func SQLState(err error) string {
	var e *SQLError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func (e *SQLError) Error() string {
	s := e.Message + " (SQLSTATE " + e.Code + ")"
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Login is a replication login made from the host itself over TCP: the proof
// that pg_hba.conf, the role, its password and the network allow it.
type Login struct {
	Address     string // of the server to log in to
	Port        int
	User        string
	Password    secret.Value
	SSLMode     string // as libpq's
	SSLRootCert []byte // PEM, for verify-ca and verify-full
	// Binding is as libpq's channel_binding; empty is prefer.
	Binding string
	// Slot, if set, is a physical slot to stream from for a moment, so that it keeps
	// the WAL from the flush position on.
	Slot string
}

// System is the answer to IDENTIFY_SYSTEM.
type System struct {
	ID  string // system identifier
	LSN string // flush position; from here on Login.Slot keeps WAL
}

// Host is one database host, connected.
type Host interface {
	Name() string
	Runner
	// Files acts as OS user as; empty is the login user.
	Files(as string) Files
	// SQL opens a session through the server's unix socket.
	SQL(ctx context.Context, db Database) (SQL, error)
	// AskSocket connects to a unix socket on the host as OS user as, writes a line, and
	// returns what is answered until the other side hangs up. Each question has a
	// connection of its own. Nothing listening there is ErrNoServer.
	AskSocket(ctx context.Context, as, path, question string) (string, error)
	// ReplicationLogin logs in from this host over TCP with replication=1,
	// runs IDENTIFY_SYSTEM, begins to stream from a slot if one is named, and
	// leaves.
	ReplicationLogin(ctx context.Context, l Login) (System, error)
	// HostKey is the verified host key, as "ssh-ed25519 AAAA…".
	HostKey() string
	// User is the login user.
	User() string
}

// Dialer connects hosts by their inventory names. A host is dialed once a run.
type Dialer interface {
	Dial(ctx context.Context, name string) (Host, error)
}
