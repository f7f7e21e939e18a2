package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/lab"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

type layout = lab.Layout

const (
	etc           = lab.DebianEtc
	dataDirectory = lab.DataDirectory
	// booted is etc on hosts that systemd boots.
	booted layout = "systemd"
	// older is etc with PostgreSQL 11: recovery.conf, and a restart to re-point.
	older layout = "older"
)

// site is a lab that serves many tests, one at a time: h1 is a primary with
// pgbench's tables, the others wait for a bootstrap. Before a test it is put
// back, and compared with what it was at first.
type site struct {
	layout layout
	hosts  int
	label  string // in the lab's name
	major  string // of PostgreSQL
	build  string // of one's own
	// systemd boots the hosts.
	systemd bool

	made  bool
	suite *suite
	lab   *lab.Lab
	files lab.PostgresFiles
	first snapshot
}

func newSite(s *suite, l layout, hosts int, label string) *site {
	return &site{suite: s, layout: l, hosts: hosts, label: label, major: "15"}
}

// offer lets tests take labs of a layout.
func (s *suite) offer(l layout, labs ...*site) {
	s.sites[l] = make(chan *site, len(labs))
	for _, x := range labs {
		s.sites[l] <- x
	}
}

// take gives a test a site, in its first state, until the test ends.
func take(t *testing.T, l layout) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("makes real hosts")
	}
	t.Parallel()
	s := <-shared.sites[l]
	began := time.Now()
	t.Cleanup(func() {
		summary(t, began)
		shared.sites[l] <- s
	})
	if err := s.ready(context.Background()); err != nil {
		t.Fatal(describe(err))
	}
	return s
}

// ownHosts lets a test make labs of its own, one after the other. A few tests do at a
// time, the longest among them, which need not wait for a shared one.
func ownHosts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("makes real hosts")
	}
	t.Parallel()
	shared.own <- struct{}{}
	t.Cleanup(func() { <-shared.own })
}

func (s *site) ready(ctx context.Context) error {
	if !s.made {
		if err := s.make(ctx); err != nil {
			return err
		}
		s.made = true
		return nil
	}
	if err := s.putBack(ctx); err != nil {
		// One test fails for it: the next one gets a new lab.
		s.made = false
		return errors.Join(fmt.Errorf("put the lab back: %w", err), s.lab.Down(ctx))
	}
	now, err := s.snapshot(ctx, lenient)
	if err != nil {
		return err
	}
	if d := difference(s.first, now); d != "" {
		// The next test gets a new lab.
		s.made = false
		return errors.Join(fmt.Errorf("the last test left something that the reset does not know (-first +now):\n%s", d), s.lab.Down(ctx))
	}
	return nil
}

// resetTime is enough for a host that a test has left in any state it may leave it in.
const resetTime = 3 * time.Minute

// putBack is reset, with an end: all other tests of the layout would wait for it.
func (s *site) putBack(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, resetTime)
	defer cancel()
	err := s.reset(bound)
	if err == nil || bound.Err() == nil {
		return err
	}
	runs := ""
	for _, name := range s.names() {
		out, _ := s.lab.Exec(ctx, name, []string{"ps", "-eo", "pid,etimes,stat,args"}, "")
		runs += name + ":\n" + out
	}
	return fmt.Errorf("not within %s: %w\n%s", resetTime, err, runs)
}

func (s *site) make(ctx context.Context) error {
	l, err := lab.Up(ctx, lab.Options{Name: fmt.Sprintf("e2e-%d-%s", os.Getpid(), s.label),
		Hosts: s.hosts, Layout: s.layout, Postgres: s.wanted(), Build: s.build, Systemd: s.systemd, Cluster: true, State: s.suite.labs(), Disks: s.suite.disks, Binary: s.suite.dialer})
	if err != nil {
		return err
	}
	s.lab, s.files = l, l.Files(s.layout)
	if _, err := s.onEach(ctx, s.names(), saveScript); err != nil {
		return err
	}
	if _, err := s.onEach(ctx, s.names()[:1], fillScript); err != nil {
		return err
	}
	s.first, err = s.snapshot(ctx, lenient)
	return err
}

// wanted is the version to ask a lab for; a build has its own.
func (s *site) wanted() string {
	if s.build != "" {
		return ""
	}
	return s.major
}

// version is the first of the major release.
func (s *site) version() postgres.Version {
	v, err := postgres.ParseVersion(s.major)
	if err != nil {
		panic(err)
	}
	return v
}

// reset puts the site back into its first state.
func (s *site) reset(ctx context.Context) error {
	status, err := s.lab.Status(ctx)
	if err != nil {
		return err
	}
	for _, h := range status {
		var errs []error
		if h.Power == "frozen" {
			errs = append(errs, s.lab.Thaw(ctx, h.Name))
		}
		if h.Power == "off" {
			errs = append(errs, s.lab.Start(ctx, h.Name))
		}
		if h.Cable == "cut" {
			errs = append(errs, s.lab.Heal(ctx, h.Name))
		}
		if h.Rate != "" {
			errs = append(errs, s.lab.Slow(ctx, h.Name, ""))
		}
		if len(h.Parted) > 0 {
			errs = append(errs, s.lab.Join(ctx))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	// The primary last: a standby would take its slot again.
	names := s.names()
	if _, err := s.onEach(ctx, names[1:], resetScript); err != nil {
		return err
	}
	_, err = s.onEach(ctx, names[:1], resetScript)
	return err
}

func (s *site) names() []string {
	names := make([]string, s.hosts)
	for i := range names {
		names[i] = "h" + strconv.Itoa(i+1)
	}
	return names
}

// onEach runs a script on hosts, all at once, and returns what each of them
// printed.
func (s *site) onEach(ctx context.Context, names []string, script string) (map[string]string, error) {
	out := map[string]string{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error {
			got, err := s.lab.Exec(ctx, name, []string{"sh", "-s"}, s.variables(name)+script)
			if err != nil {
				return fmt.Errorf("%s: %w: %s", name, err, host.Tail(host.StderrOf(err), 5))
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = got
			return nil
		})
	}
	return out, g.Wait()
}

// variables are what every script may use; h1 is the primary.
func (s *site) variables(name string) string {
	conf := "etc"
	if s.layout == dataDirectory {
		conf = "data"
	}
	return fmt.Sprintf("set -eu\ncd /\nprimary=%t major=%s data=%s config=%s bin=%s log=%s layout=%s booted=%t\n", name == "h1", s.major, s.files.Data, s.files.Config, s.files.Bin, s.files.Log, conf, s.systemd)
}

const (
	// What tests may change is kept aside on the host itself.
	saveScript = `
umask 077
mkdir /var/e2e
# sudo makes it at the first success (Debian, for members of group admin or sudo).
install -o admin -g admin -m 644 /dev/null /home/admin/.sudo_as_admin_successful
for d in etc home root usr/local; do mkdir -p /var/e2e/$d; rsync -a /$d/ /var/e2e/$d/; done
if $primary && [ $layout = data ]; then
  mkdir /var/e2e/data
  cp -a $data/postgresql.conf $data/pg_hba.conf $data/pg_ident.conf /var/e2e/data/
fi
if $primary; then cp -a $data/postgresql.auto.conf /var/e2e/auto.conf; fi
`
	fillScript = asPostgres + `
as psql -XAtqc "create database bench"
as pgbench -qi -s 2 bench 2>/dev/null
if [ "$(as psql -XAtqc "select count(*) from pg_available_extensions where name = 'amcheck'")" = 1 ]; then as psql -XAtqd bench -c "create extension amcheck"; fi
as psql -XAtqd bench -c "alter table pgbench_history add column id bigserial"
`
	// sshd removes the file of its pid when it begins anew, and writes it when
	// it listens.
	reloadSSHD = `
pid=$(cat /run/sshd.pid)
rm /run/sshd.pid
kill -HUP $pid
until [ -s /run/sshd.pid ]; do sleep 0.02; done
`
	resetScript = asPostgres + `
sshd=same
diff -rq /var/e2e/etc/ssh /etc/ssh >/dev/null || sshd=changed
# One that saw its command stopped, on a host that was frozen, has stopped itself.
pkill -CONT -x sudo || true
for p in rsync pgbench psql pg_receivewal tail; do pkill -KILL -x $p || true; done
if [ -e /usr/bin/rsync.away ]; then mv /usr/bin/rsync.away /usr/bin/rsync; fi
for d in etc home root usr/local; do rsync -a --checksum --delete --numeric-ids /var/e2e/$d/ /$d/; done
if [ $sshd = changed ]; then` + reloadSSHD + `fi
rm -rf /var/lib/postgresql/.pgrepctl /var/lib/postgresql/.psql_history /dev/shm/pgrepctl-* /var/tmp/received
find /tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix' -exec rm -rf {} +
unit=postgresql@15-main
if $primary; then
  if [ $layout = data ]; then cp -a /var/e2e/data/* $data/; fi
  cp -a /var/e2e/auto.conf $data/postgresql.auto.conf
  if $booted && ! systemctl -q is-active $unit; then as $bin/pg_ctl -s -D $data -m fast stop || true; fi
  if ! as $bin/pg_ctl -s -D $data status >/dev/null; then
    if $booted; then systemctl start $unit;
    elif [ $layout = etc ]; then pg_ctlcluster $major main start; else as $bin/pg_ctl -s -w -D $data -l $log start; fi
  fi
  # What only a start takes back: the files as they are again, against what runs.
  if [ $major -ge 10 ] && [ "$(as psql -XAtqc 'select count(*) from pg_file_settings where error is not null')" != 0 ]; then
    if $booted; then systemctl restart $unit;
    elif [ $layout = etc ]; then pg_ctlcluster $major main restart; else as $bin/pg_ctl -s -w -D $data -l $log restart; fi
  fi
  as psql -XAtqd bench -c "alter table pgbench_tellers set tablespace pg_default"
  for db in bench postgres; do as psql -XAtqd $db <<'SQL'
do $$
declare r record;
begin
  for r in select relname from pg_class where relkind = 'r' and relnamespace = (select oid from pg_namespace where nspname = 'public') and relname !~ '^pgbench_' loop
    execute format('drop table %I', r.relname);
  end loop;
end $$;
SQL
  done
  as psql -XAtqc "drop tablespace if exists fast" 2>/dev/null
  as psql -XAtq <<'SQL'
select pg_reload_conf();
select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'pgrepctl%';
select pg_terminate_backend(pid) from pg_stat_replication;
do $$
declare r record;
begin
  for i in 1..200 loop
    exit when not exists (select from pg_replication_slots where active);
    perform pg_terminate_backend(pid) from pg_stat_replication;
    perform pg_sleep(0.01);
  end loop;
  for r in select slot_name from pg_replication_slots loop
    perform pg_drop_replication_slot(r.slot_name);
  end loop;
  for r in select rolname from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres' loop
    execute format('drop role %I', r.rolname);
  end loop;
end $$;
SQL
else
  if $booted; then systemctl stop $unit; systemctl reset-failed $unit; fi
  if [ -e $data/postmaster.pid ]; then as $bin/pg_ctl -s -D $data -m immediate stop || true; fi
  # Children outlive a postmaster that ends at once, by a moment, and are in there.
  for d in $data ${data%/*}; do
    for try in $(seq 200); do if ! mountpoint -q $d || umount $d 2>/dev/null; then break; fi; sleep 0.05; done
    if mountpoint -q $d; then umount $d; fi
  done
  if [ $layout = etc ]; then
    mkdir -p $data; chmod 700 $data; chown postgres:postgres $data
    find $data -mindepth 1 -delete
  else
    rm -rf $data
  fi
  rm -f $log
fi
rm -rf /ts /elsewhere
`
)

// at runs a shell script as root on a host.
func (s *site) at(t *testing.T, name, script string) string {
	t.Helper()
	out, err := s.lab.Exec(context.Background(), name, []string{"sh", "-s"}, s.variables(name)+asPostgres+script)
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, script, host.StderrOf(err))
	}
	return strings.TrimRight(out, "\n")
}

// A function holds the script's output open in the background, $asp does not. psql
// is the program itself: the perl that Debian puts before it takes ten times as long,
// and was a seventh of what all scenarios cost together.
const asPostgres = `asp="setpriv --reuid postgres --regid postgres --init-groups"
as() { $asp "$@"; }
for d in /usr/lib/postgresql/*/bin; do PATH=$d:$PATH; done
`

// sql runs one query on a host's server, as psql prints it.
func (s *site) sql(t *testing.T, name, database, query string) string {
	t.Helper()
	out, err := s.query(name, database, query)
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", name, err, query, host.StderrOf(err))
	}
	return out
}

func (s *site) query(name, database, query string) (string, error) {
	out, err := s.lab.Exec(context.Background(), name, []string{"sh", "-s"}, asPostgres+"as psql -XAtqv ON_ERROR_STOP=1 -d "+database+" <<'E2E-SQL'\n"+query+"\nE2E-SQL\n")
	return strings.TrimRight(out, "\n"), err
}

func (s *site) do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(describe(err))
	}
}

func describe(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Stderr != "" {
		return fmt.Sprintf("%v\n%s", err, f.Stderr)
	}
	return err.Error()
}

// pause is one turn of a loop that waits for a condition.
func pause(d time.Duration) { time.Sleep(d) }

func itoa(n int) string { return strconv.Itoa(n) }
