package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// haproxy answers on a socket as HAProxy does that has pg2 in backend reads.
func haproxy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lb") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.Close(), os.RemoveAll(dir) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			_, _ = fmt.Fprint(c, "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n3 reads 1 pg2 10.0.0.12 2 0\n\n# pxname,svname,scur,bck\nreads,pg2,7,0\n\n")
			_ = c.Close()
		}
	}()
	return socket
}

func TestTrafficShowNamesABalancerThatCannotBeRead(t *testing.T) {
	t.Parallel()
	lb := remotetest.Start(t, remotetest.Config{})
	const (
		gone    = "gone: {kind: haproxy, address: 127.0.0.1, ssh: {port: 1}, socket: /s, backend: reads}"
		silent  = "silent: {kind: haproxy, address: 127.0.0.1, socket: /nowhere/admin.sock, backend: reads}"
		wrong   = "wrong: {kind: command, address: 127.0.0.1, drain: [drain, '%h'], restore: [restore, '%h'], status: [echo, 'no, %h']}"
		pooler  = "pooler: {kind: pgbouncer, address: 127.0.0.1, os_user: tester, socket_directory: /nowhere, port: 6432}"
		drained = "drained: {kind: command, address: 127.0.0.1, drain: [drain, '%h'], restore: [restore, '%h'], status: [echo, drained]}"
		right   = "right: {kind: command, address: 127.0.0.1, drain: [drain, '%h'], restore: [restore, '%h'], status: [echo, serving, '3']}"
	)
	good := fmt.Sprintf("good: {kind: haproxy, address: 127.0.0.1, socket: %s, backend: reads}", haproxy(t))
	for name, c := range map[string]struct {
		balancers []string
		code      int
		shows     []string
	}{
		"all can be read": {[]string{right}, 0, []string{"right +command .* pg2 +pg2 +serving +.* 3", "right +command .* pg3 +pg3 +serving"}},
		"HAProxy lacks a standby": {[]string{good}, 0, []string{"good +haproxy +reads +pg2 +pg2 +serving +ready +7", "pg3 +pg3 +not listed",
			"warning: good: it has no server pg3", "give pg3 its name there"}},
		"nobody serves":              {[]string{drained}, 0, []string{"pg3 +drained", "problem: drained: no server serves: new reads fail there", "hint: .*pgrepctl -i .* traffic restore HOST"}},
		"its host does not answer":   {[]string{gone, right}, int(fault.Partial), []string{"right +command .* serving", "gone +haproxy .* not read", "problem: gone: connect: .*refused", "hint: is sshd running"}},
		"its socket is not there":    {[]string{silent, right}, int(fault.Partial), []string{"problem: silent: read balancer silent: haproxy", "hint: .*on silent: .*ls -l /nowhere/admin.sock"}},
		"its command says otherwise": {[]string{wrong, right}, int(fault.Partial), []string{"problem: wrong: .*want drained or serving", "hint: .* on wrong.*: echo 'no, pg2'"}},
		"no console":                 {[]string{right, pooler}, int(fault.Partial), []string{"problem: pooler: ", "hint: .* on pooler: .*psql -h /nowhere -p 6432"}},
		"none can be read":           {[]string{gone, silent}, int(fault.Unreachable), []string{"problem: gone: ", "problem: silent: "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			inv := filepath.Join(dir, "inventory.yaml")
			text := fmt.Sprintf("cluster: shop\npostgres: {version: 15, data_directory: /srv/pg}\nssh: {user: tester, become: none, port: %d, config_file: %s, identity_file: %s, known_hosts: %s}\n",
				lb.Port, os.DevNull, lb.Key.File, lb.KnownHosts) +
				"hosts:\n  pg1: {address: 127.0.0.1, role: primary}\n  pg2: {address: 127.0.0.2, role: standby}\n  pg3: {address: 127.0.0.3, role: standby}\n" +
				"traffic:\n  balancers:\n    " + strings.Join(c.balancers, "\n    ") + "\n"
			if err := os.WriteFile(inv, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			show := func(more ...string) (string, string) {
				t.Helper()
				var out, errs bytes.Buffer
				env := func(name string) string { return map[string]string{"HOME": dir}[name] }
				if code := Run(t.Context(), append([]string{"-i", inv, "traffic", "show"}, more...), Stdio{In: strings.NewReader(""), Out: &out, Err: &errs, Env: env}); code != c.code {
					t.Errorf("exit code %d, want %d; stdout %s, stderr %s", code, c.code, &out, &errs)
				}
				return out.String(), errs.String()
			}
			table, _ := show()
			for _, want := range c.shows {
				if !matches(t, want, table) {
					t.Errorf("no %q in:\n%s", want, table)
				}
			}
			out, _ := show("-o", "json")
			var r trafficReport
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if r.Format != "pgrepctl.traffic/v1" || r.Cluster != "shop" || len(r.Balancers) != len(c.balancers) {
				t.Errorf("%s", out)
			}
			for _, b := range r.Balancers {
				if (b.Error == "") != (b.Hint == "") || b.Servers == nil {
					t.Errorf("%+v", b)
				}
			}
		})
	}
}

func matches(t *testing.T, pattern, text string) bool {
	t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return re.MatchString(text)
}
