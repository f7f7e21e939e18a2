package lab

import (
	"context"
	"fmt"
	"path"
)

// PostgresFiles are the places of a cluster's files on a host.
type PostgresFiles struct {
	Data   string // data directory
	Config string // directory of postgresql.conf
	Bin    string // directory of postgres and pg_ctl
	Log    string // server log
}

// Files returns the places of a layout for the lab's version.
func (l *Lab) Files(layout Layout) PostgresFiles {
	lib := fmt.Sprintf("/var/lib/postgresql/%s", l.Postgres)
	f := PostgresFiles{
		Data:   path.Join(lib, "main"),
		Config: fmt.Sprintf("/etc/postgresql/%s/main", l.Postgres),
		Bin:    fmt.Sprintf("/usr/lib/postgresql/%s/bin", l.Postgres),
		Log:    fmt.Sprintf("/var/log/postgresql/postgresql-%s-main.log", l.Postgres),
	}
	if layout == DataDirectory {
		f.Data = path.Join(lib, "data")
		f.Config = f.Data
		f.Log = fmt.Sprintf("/var/log/postgresql/postgresql-%s-data.log", l.Postgres)
	}
	return f
}

// CreatePrimary makes a cluster with data checksums and starts it, listening on
// all addresses and speaking TLS with Debian's self-signed certificate.
// Everything else is as the package or initdb makes it: pg_hba.conf admits
// nobody from other hosts, and there is no replication role.
func (l *Lab) CreatePrimary(ctx context.Context, hostName string, layout Layout) error {
	f := l.Files(layout)
	script := debianPrimary
	if layout == DataDirectory {
		script = dataDirectoryPrimary
	}
	return l.postgresScript(ctx, "create primary", hostName, f, script)
}

// PrepareStandby makes of a host what its owner would before a standby is
// bootstrapped there: the package is installed. With Debian's layout the
// cluster is known to pg_lsclusters and has its configuration, but its data
// directory is empty and it does not run; with the other layout there is only
// the parent of the data directory.
func (l *Lab) PrepareStandby(ctx context.Context, hostName string, layout Layout) error {
	f := l.Files(layout)
	script := debianStandby
	if layout == DataDirectory {
		script = dataDirectoryStandby
	}
	return l.postgresScript(ctx, "prepare standby", hostName, f, script)
}

func (l *Lab) postgresScript(ctx context.Context, what, hostName string, f PostgresFiles, script string) error {
	argv := []string{"/bin/sh", "-euc", script, "sh", l.Postgres, f.Data, f.Config, f.Bin, f.Log}
	if _, err := l.Exec(ctx, hostName, argv, ""); err != nil {
		return fmt.Errorf("%s %s: %w", what, hostName, err)
	}
	return nil
}

// -N (--nosync before 10, --no-sync since): the files are new, and a lab's power is only ever taken from its
// processes, never from the page cache.
const (
	// Before 10 a server is not made to serve standbys.
	serveStandbys = `case $1 in 9.*) printf '%s\n' "wal_level = hot_standby" "max_wal_senders = 10" "max_replication_slots = 10" ;; esac `
	debianPrimary = `
pg_createcluster "$1" main -- --data-checksums -N
echo "listen_addresses = '*'" >"$3/conf.d/lab.conf"
` + serveStandbys + `>>"$3/conf.d/lab.conf"
chown postgres:postgres "$3/conf.d/lab.conf"
# pg_ctlcluster hands over to systemctl only when it is root, and it says so less clearly.
if [ -d /run/systemd/system ]; then systemctl start "postgresql@$1-main"; else pg_ctlcluster "$1" main start; fi
`
	debianStandby = `
pg_createcluster "$1" main -- -N
find "$2" -mindepth 1 -delete
`
	dataDirectoryPrimary = `
install -d -o postgres -g postgres "${2%/*}"
runuser -u postgres -- "$4/initdb" --pgdata "$2" --data-checksums -N --auth-local=peer --auth-host=scram-sha-256
cat >>"$3/postgresql.conf" <<CONF
listen_addresses = '*'
ssl = on
ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'
ssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key'
CONF
` + serveStandbys + `>>"$3/postgresql.conf"
runuser -u postgres -- "$4/pg_ctl" -D "$2" -l "$5" -w start
`
	dataDirectoryStandby = `
install -d -o postgres -g postgres "${2%/*}"
`
)
