package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// snapshot is what is true of each host: its files, processes, and what its
// server knows.
type snapshot map[string][]string

type strictness bool

const (
	// lenient compares names, owners, modes and bytes.
	lenient strictness = false
	// strict compares inodes and times too: whoever writes a file anew with
	// the same bytes is seen.
	strict strictness = true
)

// snapshotScript prints one line a fact. The data directory of a running server
// changes by itself, so of that one only what a person may edit is shown; what
// the server writes elsewhere (logs, shared memory) is left out. So is the option of a
// server that pg_ctl has once started as a standby: it says how that start syncs.
const snapshotScript = `
LC_ALL=C; export LC_ALL
running=no
if [ -e $data/postmaster.pid ]; then running=yes; fi
echo "server $running"
roots="/etc /home /root /usr/local /opt /srv /tmp /dev/shm /var/spool /var/lib/postgresql"
skip=/nowhere
if [ $running = yes ]; then skip=$data; fi
times=
if [ $strict = true ]; then times=' %i %T@ %C@'; fi
find $roots -path "$skip/*" -prune -o -path '/dev/shm/PostgreSQL.*' -prune -o -path '/tmp/systemd-private-*' -prune -o -type d -printf "dir %p %m %u:%g$times\n" -o -printf "file %y %p %m %u:%g %s %l$times\n"
find $roots -path "$skip/*" -prune -o -path '/dev/shm/PostgreSQL.*' -prune -o -type f -print0 | xargs -0r sha256sum
if [ $running = yes ]; then
  cd $data
  find . -maxdepth 1 ! -name postmaster.pid ! -name .s.PGSQL\* -printf "file %y $data/%P %m %u:%g\n"
  find . -maxdepth 1 \( -name '*.conf' -o -name '*.signal' -o -name 'backup_label*' -o -name tablespace_map\* -o -name pgrepctl\* \) -type f -print0 | xargs -0r sha256sum
  find pg_replslot pg_tblspc -mindepth 1 -maxdepth 1 -printf "file %y $data/%p\n"
  cd /
  setpriv --reuid postgres --regid postgres --init-groups psql -XAtq <<'SQL'
select 'role ' || rolname, rolsuper, rolreplication, rolcanlogin, rolpassword from pg_authid;
select 'setting ' || setconfig::text from pg_db_role_setting;
select 'slot ' || slot_name, slot_type, active, coalesce(to_json(s)->>'temporary', 'false') from pg_replication_slots s;
select 'sender ' || application_name, state from pg_stat_replication;
select 'session ' || application_name, usename from pg_stat_activity a where coalesce(to_json(a)->>'backend_type', 'client backend') = 'client backend' and pid <> pg_backend_pid();
select 'lock ' || classid, objid, granted from pg_locks where locktype = 'advisory';
select 'setting ' || name, setting from pg_settings where source = 'configuration file';
SQL
fi
ps -eo user:16,args --no-headers |
  sed -e 's/[0-9][0-9]* of [0-9-]* startups//' -e 's/\(walsender\|walreceiver\).*/\1/' -e 's/\(postgres: .*startup\) .*/\1/' -e 's/ -c recovery_init_sync_method=syncfs//' |
  grep -v -e '^root  *sh -s$' -e '^root  *ps -eo' -e '^root  *sed ' -e '<defunct>' -e ' \[.*\]$' -e '^root  *grep -v' -e 'autovacuum worker' -e 'postgres: .*\[local\]' -e 'parallel worker' -e 'systemd --user$' -e '(sd-pam)$' -e '/systemd-user-runtime-dir st[ao]' | sed 's/^/process /'
`

// snapshot takes one of the hosts that are on. Connections of the tool end a
// moment after it does, so leftovers are given a while to go.
func (s *site) snapshot(ctx context.Context, how strictness) (snapshot, error) {
	for deadline := time.Now().Add(20 * time.Second); ; pause(50 * time.Millisecond) {
		now, err := s.snapshotOnce(ctx, how)
		if err != nil {
			return nil, fmt.Errorf("take a snapshot: %w", err)
		}
		passing := func(left string) bool { return containsAny(left, ": process ", ": session ", ": lock ") }
		if !slices.ContainsFunc(now.leftovers(), passing) || time.Now().After(deadline) {
			return now, nil
		}
	}
}

func (s *site) snapshotOnce(ctx context.Context, how strictness) (snapshot, error) {
	status, err := s.lab.Status(ctx)
	if err != nil {
		return nil, err
	}
	var on []string
	for _, h := range status {
		if h.Power == "on" {
			on = append(on, h.Name)
		}
	}
	out, err := s.onEach(ctx, on, fmt.Sprintf("strict=%t\n", how)+snapshotScript)
	if err != nil {
		return nil, err
	}
	now := snapshot{}
	for name, text := range out {
		now[name] = slices.Sorted(strings.Lines(text))
	}
	return now, nil
}

// leftovers are the things that no run may leave behind on any host, whatever
// became of it.
func (now snapshot) leftovers() []string {
	var left []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		for _, line := range now[name] {
			switch kind, rest, _ := strings.Cut(line, " "); {
			case kind == "process" && containsAny(rest, "rsync", "sftp-server", "perl ", "python", "socat", "sshd: admin", "sshd: postgres", "ssh ", "sudo ", "pgrepctl", "pg_basebackup"),
				kind == "session" && strings.HasPrefix(rest, "pgrepctl"),
				kind == "lock",
				(kind == "file" || kind == "dir") && containsAny(rest, "/dev/shm/pgrepctl", "pgrepctl.run", "pg_control.pgrepctl", ".pgrepctl.tmp", ".pgrepctl-"):
				left = append(left, name+": "+strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return left
}

func containsAny(s string, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// before is taken ahead of what a test does.
func (s *site) before(t *testing.T, how strictness) snapshot {
	t.Helper()
	now, err := s.snapshot(context.Background(), how)
	if err != nil {
		t.Fatal(describe(err))
	}
	return now
}

// unchanged asserts that the hosts are as they were.
func (s *site) unchanged(t *testing.T, was snapshot, how strictness) {
	t.Helper()
	s.same(t, was, s.before(t, how), "the hosts before (-) and now (+)")
}

// same compares two snapshots.
func (s *site) same(t *testing.T, a, b snapshot, what string) {
	t.Helper()
	if d := difference(a, b); d != "" {
		t.Errorf("%s:\n%s", what, d)
	}
}

// difference is the lines that only one of two snapshots has. A line that
// stands twice in one of them and once in the other is none: processes come and
// go.
func difference(a, b snapshot) string {
	var diff strings.Builder
	hosts := maps.Clone(a)
	maps.Copy(hosts, b)
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		only := func(sign string, x, y []string) {
			for _, line := range x {
				if !slices.Contains(y, line) {
					diff.WriteString(sign + " " + name + ": " + line)
				}
			}
		}
		only("-", a[name], b[name])
		only("+", b[name], a[name])
	}
	return diff.String()
}

// clean asserts that no run has left anything that is owed: keys, sessions,
// locks, processes, markers, files on their way, and backup mode.
func (s *site) clean(t *testing.T) {
	t.Helper()
	now := s.before(t, lenient)
	for _, left := range now.leftovers() {
		t.Error("left behind: " + left)
	}
	if keys := s.at(t, "h1", "cat /home/admin/.ssh/authorized_keys"); strings.Contains(keys, "pgrepctl:") {
		t.Errorf("left behind: a key on h1:\n%s", keys)
	}
}
