package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// What the tool refuses before it changes anything: the answer names the reason
// and what to do, and the hosts stay as they were.

func TestUnfitHostsAreRefusedUnchanged(t *testing.T) {
	t.Parallel()
	ownServer := `
case $layout in
etc) pg_ctlcluster 15 main stop 2>/dev/null || true; rm -rf $data $config; pg_createcluster 15 main -- --no-sync >/dev/null ;;
data) as $bin/initdb --no-sync -D $data >/dev/null ;;
esac
`
	for name, c := range map[string]struct {
		layout layout
		host   string
		break_ string   // a shell script
		with   []string // edits of the inventory
		code   int
		says   []string
	}{
		"a server of its own runs in the target": {
			layout: etc, host: "h2", break_: ownServer + "pg_ctlcluster 15 main start",
			code: 6, says: []string{"h2", "target.server-running", "target.other-system", "/var/lib/postgresql/15/main", "hint:"},
		},
		"the target holds another cluster": {
			layout: etc, host: "h2", break_: ownServer,
			code: 6, says: []string{"h2", "system identifier", "hint:"},
		},
		"the target holds somebody's files": {
			layout: etc, host: "h2", break_: "install -d -o postgres -g postgres -m 700 $data; echo precious > $data/thesis.txt",
			code: 6, says: []string{"h2", "thesis.txt", "hint:"},
		},
		"the target holds a copy that is no standby": {
			layout: etc, host: "h2",
			break_: "rsync -a -e 'ssh -o StrictHostKeyChecking=no -i /root/e2e.key' root@h1:/var/e2e/copy/ $data/",
			code:   6, says: []string{"h2", "target.not-a-standby", "hint:"},
		},
		"the target is a mount point": {
			layout: etc, host: "h2", break_: "install -d -o postgres -g postgres $data; mount -t tmpfs -o mode=700,uid=postgres tmpfs $data",
			code: 6, says: []string{"h2", "mount"},
		},
		"the disk of the target is too small": {
			layout: etc, host: "h2", break_: "install -d -o postgres -g postgres $data; mount -t tmpfs -o size=8m,mode=755,uid=postgres tmpfs ${data%/*}",
			code: 6, says: []string{"h2", "target.space"},
		},
		"somebody's slot has the name": {
			layout: etc, host: "h1", break_: `as psql -XAtqc "select pg_create_physical_replication_slot('h2', true)" >/dev/null`,
			code: 6, says: []string{"slot h2 exists", "slot drop h2 --on h1"},
		},
		"somebody uses a slot of the name": {
			layout: etc, host: "h1",
			break_: `as psql -XAtqc "select pg_create_physical_replication_slot('h2', true)" >/dev/null
install -d -o postgres -m 700 /var/tmp/received # outside of what a snapshot compares: it writes while it runs
setsid $asp $bin/pg_receivewal -D /var/tmp/received -S h2 >/dev/null 2>&1 </dev/null &
until [ "$(as psql -XAtqc "select count(*) from pg_stat_replication where state = 'streaming'")" = 1 ]; do sleep 0.02; done`,
			code: 6, says: []string{"slot h2", "pg_receivewal"},
		},
		"no walsender is free": {
			layout: etc, host: "h1",
			break_: `for i in 1 2 3 4 5 6 7 8 9 10; do
  setsid $asp sh -c 'tail -f /dev/null | psql -Xq "dbname=postgres replication=1"' >/dev/null 2>&1 </dev/null &
done
until [ "$(as psql -XAtqc "select count(*) from pg_stat_activity where backend_type = 'walsender'")" = 10 ]; do sleep 0.02; done`,
			code: 6, says: []string{"h1", "max_wal_senders", "hint:"},
		},
		"no slot is free": {
			layout: etc, host: "h1",
			break_: `for i in 1 2 3 4 5 6 7 8 9 10; do as psql -XAtqc "select pg_create_physical_replication_slot('other$i')" >/dev/null; done`,
			code:   6, says: []string{"h1", "max_replication_slots", "hint:"},
		},
		"the primary has no rsync": {
			layout: etc, host: "h1", break_: "mv /usr/bin/rsync /usr/bin/rsync.away",
			code: 6, says: []string{"h1", "rsync", "install"},
		},
		"the standby has no rsync": {
			layout: etc, host: "h2", break_: "mv /usr/bin/rsync /usr/bin/rsync.away",
			code: 6, says: []string{"h2", "rsync", "install"},
		},
		"sudo of the primary asks for a password for rsync": {
			layout: etc, host: "h1",
			break_: "printf '%s\n' 'admin ALL=(postgres) NOPASSWD: ALL' 'admin ALL=(postgres) PASSWD: /usr/bin/rsync' > /etc/sudoers.d/admin",
			code:   6, says: []string{"copy.sudo", "h1", "a password is required", "NOPASSWD: /usr/bin/rsync"},
		},
		"sudo of the primary allows all but rsync": {
			layout: etc, host: "h1",
			break_: "printf '%s\n' 'admin ALL=(postgres) NOPASSWD: ALL, !/usr/bin/rsync' > /etc/sudoers.d/admin",
			code:   6, says: []string{"copy.sudo", "h1", "not allowed to execute", "NOPASSWD: /usr/bin/rsync"},
		},
		"sshd of the primary reads keys elsewhere": {
			layout: etc, host: "h1",
			break_: `install -d -m 755 /etc/ssh/keys
install -m 644 /home/admin/.ssh/authorized_keys /etc/ssh/keys/admin
echo 'AuthorizedKeysFile /etc/ssh/keys/%u' > /etc/ssh/sshd_config.d/keys.conf
` + reloadSSHD,
			code: 6, says: []string{"copy.authorized-keys", "h1", "/etc/ssh/keys/admin", "AuthorizedKeysFile"},
		},
		"the inventory has the wrong version": {
			layout: dataDirectory, with: []string{"version: 15", "version: 14"},
			code: 6, says: []string{"14", "15"},
		},
		"the inventory has the wrong data directory of the primary": {
			layout: etc, with: []string{"role: primary}", "role: primary, postgres: {data_directory: /var/lib/postgresql/15/other}}"},
			code: 6, says: []string{"h1", "/var/lib/postgresql/15/main", "/var/lib/postgresql/15/other"},
		},
		"both names are one machine": {
			layout: etc, with: []string{"h2: {address: 10.77.0.12", "h2: {address: h1"},
			code: 6, says: []string{"target.is-source", "h2", "h1"},
		},
		"the primary's configuration is already broken": {
			layout: etc, host: "h1", break_: "echo 'work_mem = banana' >> $config/postgresql.conf",
			code: 6, says: []string{"h1", "postgresql.conf", "work_mem"},
		},
		"the primary's pg_hba.conf is already broken": {
			layout: etc, host: "h1", break_: "echo 'host all all nonsense' >> $config/pg_hba.conf",
			code: 6, says: []string{"h1", "pg_hba.conf"},
		},
		"ALTER SYSTEM wins over the wanted setting": {
			layout: etc, host: "h1", break_: `as psql -XAtqc "alter system set work_mem = '7MB'" -c "select pg_reload_conf()" >/dev/null`,
			with: []string{"service:", "settings: {work_mem: 9MB}\n  service:"},
			code: 6, says: []string{"h1", "work_mem", "ALTER SYSTEM"},
		},
		"the setting needs a restart": {
			layout: etc, with: []string{"service:", "settings: {max_connections: 123}\n  service:"},
			code: 6, says: []string{"h1", "max_connections", "restart"},
		},
		"the setting does not exist": {
			layout: etc, with: []string{"service:", "settings: {work_men: 9MB}\n  service:"},
			code: 6, says: []string{"work_men", "work_mem"},
		},
		"the role has another password": {
			layout: etc, host: "h1", break_: `as psql -XAtqc "create role replicator login replication password 'other'"`,
			code: 6, says: []string{"replicator", "another password"},
		},
		"TLS is wanted and off": {
			layout: etc, host: "h1", break_: `sed -i 's/^ssl = on/ssl = off/' $config/postgresql.conf; as psql -XAtqc "select pg_reload_conf()" >/dev/null
until [ "$(as psql -XAtqc 'show ssl')" = off ]; do sleep 0.02; done`,
			code: 6, says: []string{"h1", "ssl", "sslmode"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := take(t, c.layout)
			o := newOperator(t, s).with(c.with...)
			if strings.Contains(c.break_, "/root/e2e.key") {
				s.copyOfThePrimary(t)
			}
			if c.break_ != "" {
				s.at(t, c.host, c.break_)
			}
			was := s.before(t, strict)
			a := o.call("standby", "bootstrap", "h2", "--yes").exits(c.code).says(c.says...).says("error: ")
			s.unchanged(t, was, strict)
			if id := regexp.MustCompile(`runs (resume|undo) \S+`).FindString(a.stderr); id != "" {
				t.Errorf("nothing was changed, and it says %q", id)
			}
			if _, recs := o.records(); recs != nil {
				t.Errorf("it has begun a run: %d records", len(recs))
			}
		})
	}
}

// copyOfThePrimary leaves a copy of h1's data on h1, and a key to fetch it with
// on h2.
func (s *site) copyOfThePrimary(t *testing.T) {
	t.Helper()
	s.at(t, "h1", "rm -rf /var/e2e/copy; as $bin/pg_basebackup -D /tmp/copy -c fast; mv /tmp/copy /var/e2e/copy")
	s.at(t, "h2", "ssh-keygen -q -t ed25519 -N '' -f /root/e2e.key")
	key := s.at(t, "h2", "cat /root/e2e.key.pub")
	s.at(t, "h1", "echo '"+key+"' >> /root/.ssh/authorized_keys")
}

func TestPasswordLiteralIsRefusedWithItsPlace(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s).with(`password: {file: "`+s.lab.PasswordPath()+`"}`, "password: tops3cret")
	was := s.before(t, strict)
	a := o.call("standby", "bootstrap", "h2", "--yes").exits(65).says("inventory.yaml:", "password", "env")
	if !regexp.MustCompile(`inventory\.yaml:\d+:\d+: `).MatchString(a.stderr) {
		t.Errorf("no line and column:\n%s", a.stderr)
	}
	if strings.Contains(a.stdout+a.stderr, "tops3cret") {
		t.Errorf("it repeats the password:\n%s", a.stderr)
	}
	s.unchanged(t, was, strict)
}
