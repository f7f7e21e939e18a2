package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

// scenario is what is done with the machines.
type scenario struct {
	*machines
	bin string
}

// addresses are those of the Vagrantfile.
var addresses = map[string]string{"h1": "10.78.0.11", "h2": "10.78.0.12"}

const debianServer = `  data_directory: /var/lib/postgresql/15/main
  config_directory: /etc/postgresql/15/main
  service: {kind: systemd, name: postgresql@15-main}`

const rhelServer = `  data_directory: /var/lib/pgsql/data
  service: {kind: systemd, name: postgresql}`

// variables name the places of the server's files for scripts on the machines.
const variables = `
if [ -e /etc/debian_version ]; then
	data=/var/lib/postgresql/15/main conf=/etc/postgresql/15/main unit=postgresql@15-main
else
	data=/var/lib/pgsql/data conf=/var/lib/pgsql/data unit=postgresql
fi
psql() { runuser -u postgres -- psql -XAtq -d "$@"; }
cd /
`

func (s *scenario) run(ctx context.Context) error {
	if err := s.describe(ctx); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	was, err := s.state(ctx)
	if err != nil {
		return err
	}
	problems := 0.0
	var exit *exec.ExitError
	if _, err := s.pgrepctl(ctx, "doctor", "doctor", "h2"); errors.As(err, &exit) && fault.Class(exit.ExitCode()) == fault.Problems {
		problems = 1
	} else if err != nil {
		return err
	}
	s.None("hosts with which doctor sees a problem", problems, "count")
	var rep engine.Report
	if err := s.decoded(ctx, &rep, "standby bootstrap, under load", "standby", "bootstrap", "h2", "--yes"); err != nil {
		return err
	}
	s.AtLeast("effects of the bootstrap", float64(len(rep.Done)), "count", 20)
	var st status.Report
	if err := s.decoded(ctx, &st, "status", "status", "--exit-code"); err != nil {
		return err
	}
	streaming := 0
	for _, h := range st.Hosts {
		if h.Host == "h2" && h.Role == "standby" && h.State == status.Streaming && h.Upstream == "h1" {
			streaming++
		}
	}
	s.AtLeast("standbys that stream from h1", float64(streaming), "count", 1)
	if err := s.compare(ctx); err != nil {
		return err
	}
	if _, err := s.ask(ctx, "h2", variables+"systemctl is-active $unit"); err != nil {
		return fmt.Errorf("systemd does not run the standby: %w", err)
	}
	var again engine.Report
	if err := s.decoded(ctx, &again, "second bootstrap", "standby", "bootstrap", "h2", "--yes"); err != nil {
		return err
	}
	s.None("effects of the second bootstrap", float64(len(again.Done)), "count")
	if _, err := s.pgrepctl(ctx, "runs undo", "runs", "undo", rep.Run, "--yes"); err != nil {
		return err
	}
	now, err := s.state(ctx)
	if err != nil {
		return err
	}
	different := 0
	for _, h := range []string{"h1", "h2"} {
		if was[h] != now[h] {
			different++
			fmt.Printf("%s was:\n%s\n%s is:\n%s\n", h, was[h], h, now[h])
		}
	}
	s.None("hosts that the undo left different", float64(different), "count")
	return s.failedUnits(ctx)
}

// describe writes the files by which ssh and pgrepctl know the machines.
func (s *scenario) describe(ctx context.Context) error {
	identity, err := s.identity(ctx)
	if err != nil {
		return err
	}
	keys, err := s.output(ctx, "ssh-keyscan", "-T", "100", "-t", "ed25519", addresses["h1"], addresses["h2"])
	if err != nil {
		return err
	}
	known, password := filepath.Join(s.dir, "known_hosts"), filepath.Join(s.dir, "password")
	ssh := fmt.Sprintf("User vagrant\nIdentityFile %q\nIdentitiesOnly yes\nUserKnownHostsFile %q\nBatchMode yes\nConnectTimeout 100\n", identity, known)
	server, hosts := debianServer, ""
	if os.Getenv("BOX") != "" {
		server = rhelServer
	}
	for _, h := range []struct{ name, role string }{{"h1", "primary"}, {"h2", "standby"}} {
		ssh += fmt.Sprintf("Host %s\n  HostName %s\n", h.name, addresses[h.name])
		hosts += fmt.Sprintf("  %s: {address: %s, role: %s}\n", h.name, addresses[h.name], h.role)
	}
	inventory := fmt.Sprintf(`cluster: vagrant
postgres:
  version: 15
%s
replication:
  password: {file: %q}
  sslmode: require
ssh:
  user: vagrant
  become: sudo
  identity_file: [%q]
  known_hosts: [%q]
hosts:
%s`, server, password, identity, known, hosts)
	return errors.Join(
		os.WriteFile(known, keys, 0o600),
		os.WriteFile(password, []byte("emulated, and soon gone"), 0o600),
		os.WriteFile(s.sshConfig(), []byte(ssh), 0o600),
		os.WriteFile(s.inventory(), []byte(inventory), 0o600))
}

func (s *scenario) inventory() string { return filepath.Join(s.dir, "inventory.yaml") }

// identity is the private key that Vagrant logs in with.
func (s *scenario) identity(ctx context.Context) (string, error) {
	out, err := s.output(ctx, "vagrant", "ssh-config", "h1")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "IdentityFile "); ok {
			return strings.Trim(v, `"`), nil
		}
	}
	return "", fmt.Errorf("vagrant ssh-config: no IdentityFile in %q", out)
}

func (s *scenario) output(ctx context.Context, argv ...string) ([]byte, error) {
	c, cancel := s.command(ctx, callTimeout, argv...)
	defer cancel()
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return out, nil
}

// pgrepctl runs the tool, adds the time that it took, and returns its result.
func (s *scenario) pgrepctl(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := s.timed(name, callTimeout, func(t time.Duration) error {
		c, cancel := s.command(ctx, t, append([]string{s.bin, "-i", s.inventory()}, args...)...)
		defer cancel()
		c.Stdout, c.Stderr = &out, os.Stderr
		err := c.Run()
		os.Stdout.Write(out.Bytes())
		return err
	})
	return out.Bytes(), err
}

func (s *scenario) decoded(ctx context.Context, into any, name string, args ...string) error {
	out, err := s.pgrepctl(ctx, name, append(args, "-o", "json", "--quiet")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// load fills the primary and starts a client that goes on writing.
func (s *scenario) load(ctx context.Context) error {
	_, err := s.ask(ctx, "h1", variables+`
runuser -u postgres -- createdb shop
runuser -u postgres -- pgbench -q -i -s 1 shop >/dev/null 2>&1
systemd-run -q --unit=load --uid=postgres pgbench -n -c 1 -R 5 -T 86400 shop
`)
	return err
}

// compare stops the client and compares all rows, once the standby has them.
func (s *scenario) compare(ctx context.Context) error {
	const rows = `psql shop -c "select (select count(*) from pgbench_history), (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers)"`
	lsn, err := s.ask(ctx, "h1", variables+`systemctl stop load; psql shop -c "select pg_current_wal_lsn()"`)
	if err != nil {
		return err
	}
	want, err := s.ask(ctx, "h1", variables+rows)
	if err != nil {
		return err
	}
	wait := fmt.Sprintf(`
n=0
until [ "$(psql shop -c "select pg_last_wal_replay_lsn() >= '%s'")" = t ]; do
	[ $((n += 1)) -lt 300 ]
	sleep 1
done
`, lsn)
	got, err := s.ask(ctx, "h2", variables+wait+rows)
	if err != nil {
		return err
	}
	fmt.Printf("h1 %s\nh2 %s\n", want, got)
	history, _, _ := strings.Cut(want, "|")
	var written float64
	if _, err := fmt.Sscan(history, &written); err != nil {
		return fmt.Errorf("rows of h1: %q: %w", want, err)
	}
	s.AtLeast("transactions written meanwhile", written, "count", 1)
	different := 0.0
	if got != want {
		different = 1
	}
	s.None("standbys with other rows than h1", different, "count")
	return nil
}

// state is what an undo has to bring back: configuration, keys, roles, slots, and
// a standby's host that has no data and no server.
func (s *scenario) state(ctx context.Context) (map[string]string, error) {
	const script = variables + `
systemctl is-active $unit || true
find $conf ~vagrant/.ssh ~postgres/.ssh -maxdepth 2 '(' -name '*.conf' -o -path '*/.ssh/*' ')' -type f -exec sha256sum {} + 2>/dev/null | sort -k2
if systemctl -q is-active $unit; then
	psql postgres -c "select 'role', rolname from pg_roles union all select 'slot', slot_name from pg_replication_slots order by 1, 2"
else
	find $data -mindepth 1
fi
`
	out := map[string]string{}
	for h := range addresses {
		state, err := s.ask(ctx, h, script)
		if err != nil {
			return nil, err
		}
		out[h] = state
	}
	return out, nil
}

// failedUnits counts what systemd could not start or keep running. One is
// Vagrant's: it restarts the unit of eth1 for the new host name, and configures
// eth1 later and by itself.
func (s *scenario) failedUnits(ctx context.Context) error {
	failed := 0
	for h := range addresses {
		out, err := s.ask(ctx, h, "systemctl list-units --failed --plain --no-legend | grep -v '^ifup@eth1.service ' || true")
		if err != nil {
			return err
		}
		if out != "" {
			failed += strings.Count(out, "\n") + 1
			fmt.Printf("failed on %s:\n%s\n", h, out)
		}
	}
	s.None("failed units of systemd", float64(failed), "count")
	return nil
}
