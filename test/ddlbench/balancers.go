package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A check may take longer than the time between two: on a busy machine it would take
// servers out that are well.
const haproxyConf = `global
  stats socket /run/lab-haproxy.sock user postgres mode 600 level admin
  pidfile /run/lab-haproxy.pid
defaults
  mode tcp
  timeout connect 10s
  timeout check 10s
  timeout client 1h
  timeout server 1h
listen reads
  bind %s:5000
`

// Transaction pooling, so that a drain needs nothing of the clients; and one login that
// fails is not the failure of all reads for 15 s.
const pgbouncerConf = `[databases]
shop = host=%[1]s port=5000
[pgbouncer]
listen_addr = %[1]s
listen_port = 6432
unix_socket_dir = /var/run/postgresql
auth_type = trust
auth_file = /etc/pgbouncer/lab.txt
pool_mode = transaction
default_pool_size = 50
server_login_retry = 1
logfile = /var/log/postgresql/lab-pgbouncer.log
pidfile = /var/run/postgresql/lab-pgbouncer.pid
`

// Where clients connect to.
func throughBoth() address  { return address{"h1", 6432} }
func throughProxy() address { return address{"h1", 5000} }
func ofThePrimary() address { return address{"h1", 5432} }
func (s *stage) ip(name string) string {
	for _, h := range s.lab.Hosts() {
		if h.Name == name {
			return h.Address.String()
		}
	}
	return name
}

// pooler starts PgBouncer, which is there for all cases.
func (s *stage) pooler(ctx context.Context) error {
	_, err := s.sh(ctx, "h1", `printf %s "$1" >/etc/pgbouncer/lab.ini
echo '"postgres" ""' >/etc/pgbouncer/lab.txt
chown postgres /etc/pgbouncer/lab.*
as pgbouncer -q -d /etc/pgbouncer/lab.ini >/dev/null 2>&1`, fmt.Sprintf(pgbouncerConf, s.ip("h1")))
	return err
}

// serve makes standbys of the hosts of a shape that are none yet, and puts exactly
// those in HAProxy.
func (s *stage) serve(ctx context.Context, on shape) error {
	s.on = on
	if err := s.writeInventory(); err != nil {
		return err
	}
	for _, name := range on.standbys {
		got, err := s.sh(ctx, name, `pg_lsclusters -h | awk '{print $4}'`)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(got, "online") {
			if err := s.call(ctx, nil, "standby", "bootstrap", name, "--yes", "-q"); err != nil {
				return err
			}
		}
	}
	conf := fmt.Sprintf(haproxyConf, s.ip("h1"))
	for _, name := range on.standbys {
		conf += fmt.Sprintf("  server %s %s:5432 check inter 200ms\n", name, s.ip(name))
	}
	if on.primary {
		conf += fmt.Sprintf("  server h1 %s:5432 check inter 200ms backup\n", s.ip("h1"))
	}
	if _, err := s.sh(ctx, "h1", `pid=$(cat /run/lab-haproxy.pid 2>/dev/null || true)
if [ -n "$pid" ]; then kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done; fi
mkdir -p /etc/haproxy
printf %s "$1" >/etc/haproxy/lab.cfg
haproxy -D -f /etc/haproxy/lab.cfg >/dev/null 2>&1`, conf); err != nil {
		return err
	}
	return s.settled(ctx)
}

// serving returns the servers to which HAProxy sends new sessions.
func (s *stage) serving(ctx context.Context) ([]string, error) {
	out, err := s.sh(ctx, "h1", `as perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/lab-haproxy.sock") or die; print $s "show servers state reads\n"; while (<$s>) { @f = split; print "$f[3]\n" if @f > 6 && $f[5] eq "2" && $f[6] eq "0" }'`)
	return strings.Fields(out), err
}

// balancersSay is PgBouncer's log, and what HAProxy counted of each server: checks and
// connections that failed, and how often it was taken for down.
func (s *stage) balancersSay(ctx context.Context) (string, error) {
	return s.sh(ctx, "h1", `tail -n 300 /var/log/postgresql/lab-pgbouncer.log
as perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/lab-haproxy.sock") or die; print $s "show stat\n"; while (<$s>) { @f = split /,/; print join(" ", @f[1, 17, 21, 22, 13, 14, 15]), "\n" if @f > 23 }'`)
}

func (s *stage) inventory() string { return filepath.Join(s.state, "inventory.yaml") }

// writeInventory makes of the lab's inventory that of the shape: with its
// balancers, and without the hosts that are no part of it.
func (s *stage) writeInventory() error {
	b, err := os.ReadFile(s.lab.InventoryPath())
	if err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	traffic := fmt.Sprintf(`traffic:
  balancers:
    lb: {kind: haproxy, address: %[1]s, os_user: postgres, socket: /run/lab-haproxy.sock, backend: reads}
    pool: {kind: pgbouncer, address: %[1]s, databases: [%[2]s]}
hosts:
`, s.ip("h1"), database)
	text := strings.Replace(string(b), "hosts:\n", traffic, 1)
	for _, h := range s.lab.Hosts() {
		part := h.Name == "h1"
		for _, name := range s.on.standbys {
			part = part || name == h.Name
		}
		if !part {
			text = regexp.MustCompile(`(?m)^  `+h.Name+`: .*\n`).ReplaceAllString(text, "")
		}
	}
	if err := os.WriteFile(s.inventory(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}
