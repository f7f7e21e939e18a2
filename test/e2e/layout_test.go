package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// unusual is a primary that nobody's package made: another OS user, another port, a
// socket in an own directory, a data directory behind a symlink, settings in
// included files that others override, and in postgresql.auto.conf.
const unusual = `
useradd --create-home dba
install -d -o dba -g dba -m 755 /srv/pg /srv/pg/sock /srv/pg/log
install -d -o dba -g dba -m 700 /srv/pg/disk7
ln -s disk7 /srv/pg/data
chown -h dba:dba /srv/pg/data
bin=/usr/lib/postgresql/15/bin
me() { setpriv --reuid dba --regid dba --init-groups "$@"; }
if [ "$1" = h1 ]; then
  me $bin/initdb -D /srv/pg/data --no-sync --auth-local=peer --auth-host=scram-sha-256 >/dev/null
  cd /srv/pg/data
  me mkdir conf.d
  cat >>postgresql.conf <<CONF
include 'first.conf'
include_dir 'conf.d'
wal_level = replica
CONF
  cat >first.conf <<CONF
listen_addresses = '*'
port = 5433   # not the last word
unix_socket_directories = '/srv/pg/sock'
wal_level = minimal
max_wal_senders = 3
CONF
  echo "port = 5499" >conf.d/20-port.conf
  chown dba:dba first.conf conf.d/20-port.conf
  me $bin/pg_ctl -D /srv/pg/data -l /srv/pg/log/server.log -s -w start
  me psql -XAtqh /srv/pg/sock -p 5499 -d postgres -c "alter system set work_mem = '7MB'" -c "alter system set max_wal_senders = 12"
  me $bin/pg_ctl -D /srv/pg/data -l /srv/pg/log/server.log -s -w restart
fi
`

func TestUnusualLayoutIsUsedAsItIs(t *testing.T) {
	ownHosts(t)
	ctx := context.Background()
	began := time.Now()
	defer func() { summary(t, began) }()
	l, err := lab.Up(ctx, lab.Options{Name: fmt.Sprintf("e2e-%d-odd", os.Getpid()), Hosts: 2, State: shared.labs(), Disks: shared.disks, Binary: shared.dialer})
	if err != nil {
		t.Fatal(describe(err))
	}
	defer func() {
		if err := l.Down(ctx); err != nil {
			t.Error(describe(err))
		}
	}()
	s := &site{suite: shared, lab: l, layout: dataDirectory, hosts: 2, major: "15", files: lab.PostgresFiles{Data: "/srv/pg/data", Config: "/srv/pg/data", Bin: "/usr/lib/postgresql/15/bin", Log: "/srv/pg/log/server.log"}}
	for _, h := range []string{"h1", "h2"} {
		s.at(t, h, "set -- "+h+"\n"+unusual)
	}
	query := func(host, q string) string {
		return s.at(t, host, `setpriv --reuid dba --regid dba --init-groups psql -XAtqh /srv/pg/sock -p 5499 -d postgres -c "`+q+`"`)
	}
	files := func(host string) string {
		return s.at(t, host, `find /srv /home/dba -path '/srv/pg/disk7/*' -prune -o -printf '%y %p %m %u %l\n' | sort; ls -A -I 'postmaster*' /srv/pg/disk7; cd /srv/pg/disk7; cat *.conf conf.d/* 2>/dev/null || true`)
	}
	was := []string{files("h1"), files("h2")}

	o := newOperator(t, s).with("data_directory: /var/lib/postgresql/15/main", "data_directory: /srv/pg/data\n  port: 5499\n  socket_directory: /srv/pg/sock\n  os_user: dba",
		"  config_directory: /etc/postgresql/15/main\n", "", "kind: pg_ctlcluster", "kind: pg_ctl", "sslmode: require", "sslmode: prefer")
	// Broken off, and gone on with: what was written meanwhile is found behind the symlink.
	query("h1", "create table big as select n, repeat('x', 100) as t from generate_series(1, 300000) n")
	query("h1", "checkpoint")
	file := "/srv/pg/disk7/" + query("h1", "select pg_relation_filepath('big')")
	s.do(t, s.lab.Slow(ctx, "h2", "40mbit"))
	c := o.start("standby", "bootstrap", "h2", "--yes")
	o.await(c, "a part of the table", 20*time.Millisecond, func() bool {
		return s.at(t, "h2", `[ "$(stat -c %s `+file+` 2>/dev/null || echo 0)" -gt 5000000 ] && echo there || true`) != ""
	})
	c.kill()
	query("h1", "update big set t = repeat('y', 100) where n < 1000")
	query("h1", "checkpoint")
	s.fullSpeed(t)
	apply(t, o, "h2")
	s.eventually(t, "h2 streams", func() bool {
		return query("h1", "select state from pg_stat_replication where application_name = 'h2'") == "streaming"
	})
	for q, want := range map[string]string{
		"select pg_is_in_recovery()": "t",
		"select count(*), count(*) filter (where t = repeat('y', 100)) from big where n < 1000": "999|999", // of each row its old version, too, where a page is of before
		"show port":            "5499",
		"show work_mem":        "7MB",
		"show max_wal_senders": "12",
		"show wal_level":       "replica",
	} {
		if got := query("h2", q); got != want {
			t.Errorf("%s on h2: %s, want %s", q, got, want)
		}
	}
	if got := s.at(t, "h2", "readlink /srv/pg/data; stat -c %U /srv/pg/disk7/postmaster.pid"); got != "disk7\ndba" {
		t.Errorf("the data directory of h2: %s", got)
	}
	o.call("status").exits(0).says("streaming")
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	for i, h := range []string{"h1", "h2"} {
		if d := cmp.Diff(was[i], files(h)); d != "" {
			t.Errorf("%s is not as it was (-before +now):\n%s", h, d)
		}
	}
}
