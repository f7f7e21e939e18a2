// Package postgres is what this project knows about PostgreSQL 9.4 to 18
// without asking a server: the SQL and the names of each version, LSNs,
// quoting, password verifiers, the control file, what a base backup leaves out,
// and the releases with known replication bugs.
//
// It is pure: bytes and strings in, bytes and strings out. It opens no file and
// no connection.
package postgres
