// Package remote acts on hosts over SSH: it implements the interfaces of
// pkg/host with golang.org/x/crypto/ssh, pkg/sftp and pgx.
//
// One *Conn is one SSH connection. Commands, file access and SQL are sessions
// on it. Nothing is installed on the host and no port is forwarded: SQL runs
// over a small bridge process that connects the session's stdin and stdout to
// the server's unix socket.
//
// A Conn is never reconnected behind its user's back: locks, backup mode and
// leases live and die with it. When it is gone, every call says so.
package remote
