package inventory

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func load(t *testing.T, file string) *Cluster {
	t.Helper()
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func exampleFile(name string) string {
	return filepath.Join("..", "..", "examples", "inventories", name)
}

func names(hosts []*Host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return strings.Join(names, " ")
}

func TestGoodInventoriesLoad(t *testing.T) {
	t.Parallel()
	for _, file := range goodFiles(t) {
		c := load(t, file)
		if c.File != file {
			t.Errorf("%s: File %q", file, c.File)
		}
		for _, h := range c.Hosts {
			if h.Role == Standby && c.Upstream(h) == nil {
				t.Errorf("%s: %s has no upstream", file, h.Name)
			}
			if h.Pos.File != file || h.Pos.Line == 0 {
				t.Errorf("%s: %s has no place", file, h.Name)
			}
		}
	}
}

func TestMinimalInventoryGetsTheDefaults(t *testing.T) {
	t.Parallel()
	c := load(t, exampleFile("minimal.yaml"))
	pg := Postgres{
		Version:         "15",
		DataDirectory:   "/var/lib/postgresql/15/main",
		ConfigDirectory: "/etc/postgresql/15/main",
		Port:            5432,
		OSUser:          "postgres",
		Superuser:       "postgres",
		Service:         Service{Kind: ServicePgCtlCluster, Name: "main"},
	}
	ssh := SSH{User: "deploy", Become: BecomeSudo, ConnectTimeout: 10 * time.Second}
	want := &Cluster{
		Name: "shop",
		Replication: Replication{
			User:     "replicator",
			Password: SecretRef{Env: "PGREPCTL_REPLICATION_PASSWORD"},
			SSLMode:  "require",
			Slots:    true,
		},
		Hosts: []*Host{
			{Name: "pg1", Address: "10.0.0.11", Role: Primary, Postgres: pg, SSH: ssh},
			{Name: "pg2", Address: "10.0.0.12", Role: Standby, UpstreamName: "pg1", Slot: "pg2", Postgres: pg, SSH: ssh},
		},
		File: exampleFile("minimal.yaml"),
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreTypes(Pos{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHostsOverrideTheCluster(t *testing.T) {
	t.Parallel()
	c := load(t, filepath.Join("testdata", "good", "overrides.yaml"))
	set := func(replaced ...Setting) []Setting {
		all := []Setting{
			{Name: "work_mem", Value: "4MB"},
			{Name: "TimeZone", Value: "UTC"},
			{Name: "Max_Connections", Value: "100", AtLeast: true},
			{Name: "random_page_cost", Value: "1.10"},
			{Name: "huge_pages", Value: "off"},
			{Name: "log_file_mode", Value: "0640"},
			{Name: "x.n", Value: "1_000"},
			{Name: "y.n", Value: "0x1F"},
			{Name: "z.d", Value: "2001-12-14"},
		}
		for _, r := range replaced {
			i := slices.IndexFunc(all, func(s Setting) bool { return strings.EqualFold(s.Name, r.Name) })
			if i < 0 {
				all = append(all, r)
			} else {
				all[i] = r
			}
		}
		return all
	}
	labels := map[string]string{"site": "east", "rack": "", "spare": "true", "units": "4"}
	east := &Host{
		Name: "DB-East.Example.com", Address: "DB-East.Example.com", Role: Primary, Labels: labels,
		Postgres: Postgres{
			Version: "9.6", DataDirectory: "/srv/pg", ConfigDirectory: "/srv/pg", Port: 5432,
			OSUser: "postgres", Superuser: "postgres",
			Service: Service{Kind: ServiceSystemd, Name: "postgresql-9.6"},
			Settings: set(Setting{Name: "timezone", Value: "CET"}, Setting{Name: "max_connections", Value: "200"},
				Setting{Name: "wal_keep_segments", Value: "64"}),
			Tablespaces: map[string]string{"/a": "/a1", "/b": "/b2", "/c": "/c2"},
		},
		SSH: SSH{
			User: "deploy", Become: BecomeSudo, BecomePassword: SecretRef{Env: "SUDO_PASSWORD"},
			IdentityFile: []string{"~/.ssh/a", "/keys/b"}, Jump: "bastion", ConnectTimeout: 90 * time.Second,
		},
	}
	west := &Host{
		Name: "west", Address: "fd00::12", Role: Standby, UpstreamName: "DB-East.Example.com", Labels: labels,
		Postgres: Postgres{
			Version: "9.6", DataDirectory: "/srv/pg", ConfigDirectory: "/srv/pg", Port: 5433,
			OSUser: "pg96", Superuser: "dba",
			Service:     Service{Kind: ServicePgCtl},
			Settings:    set(),
			Tablespaces: map[string]string{"/a": "/a1", "/b": "/b1"},
		},
		// Its own proxy command and become exclude the cluster's jump host
		// and password.
		SSH: SSH{
			User: "admin@example.org", Port: 2222, Become: BecomeNone,
			IdentityFile: []string{"~/.ssh/a", "/keys/b"}, ProxyCommand: []string{"nc", "%h", "%p"},
			KnownHosts: []string{"~/.ssh/west"}, ConnectTimeout: 90 * time.Second,
		},
	}
	third := &Host{
		Name: "third", Address: "10.0.0.13", Role: Standby, UpstreamName: "west", Traffic: "shop/third",
		Postgres: Postgres{
			Version: "9.6", DataDirectory: "/srv/pg", ConfigDirectory: "/etc/postgresql/9.6/blue/", Port: 5432,
			OSUser: "postgres", Superuser: "postgres",
			Service:     Service{Kind: ServiceSystemd, Name: "postgresql@9.6-blue"},
			Settings:    set(),
			Tablespaces: map[string]string{"/a": "/a1", "/b": "/b1"},
		},
		SSH: SSH{
			User: "deploy", Become: BecomeSudo, BecomePassword: SecretRef{Env: "SUDO_PASSWORD"},
			IdentityFile: []string{"~/.ssh/a", "/keys/b"}, Jump: "none", ConfigFile: "~/ssh_config",
			ConnectTimeout: 90 * time.Second,
		},
	}
	if diff := cmp.Diff([]*Host{east, west, third}, c.Hosts, cmpopts.IgnoreTypes(Pos{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A key that the document has but Host does not get, or that a host cannot
// override, shows here.
func TestEveryKeyOfPostgresAndSSHCanBeOverridden(t *testing.T) {
	t.Parallel()
	values := map[string]map[string]string{
		"postgres": {
			"version": "16", "data_directory": "/d", "config_directory": "/c", "bin_directory": "/b",
			"wal_directory": "/w", "socket_directory": "/s", "port": "1", "os_user": "o", "superuser": "u",
			"service": "{kind: systemd, name: x}", "settings": "{a: b}", "tablespaces": "{/x: /y}",
		},
		"ssh": {
			"user": "u", "port": "1", "become": "none", "become_password": "{env: X}", "identity_file": "/i",
			"jump": "j", "proxy_command": "[p]", "config_file": "/c", "known_hosts": "/k",
			"host_key": "SHA256:h6p1vvn35Et6lBEqOjOhINNcHxrQVgJqVt0FrIj8yHY", "connect_timeout": "1s",
		},
	}
	const file = "cluster: c\npostgres: {version: 15, data_directory: /pg}\nhosts: {h: {role: primary%s}}\n"
	base, err := Parse("f", fmt.Appendf(nil, file, ""))
	if err != nil {
		t.Fatal(err)
	}
	for section, fields := range map[string][]namedField{
		"postgres": fieldsOf(&postgresSection{}), "ssh": fieldsOf(&sshSection{}),
	} {
		for _, f := range fields {
			value, ok := values[section][f.key]
			if !ok {
				t.Errorf("%s.%s is not tried", section, f.key)
				continue
			}
			over := fmt.Sprintf(", %s: {%s: %s}", section, f.key, value)
			c, err := Parse("f", fmt.Appendf(nil, file, over))
			if err != nil {
				t.Errorf("%s: %v", over, err)
			} else if cmp.Equal(base.Hosts, c.Hosts, cmpopts.IgnoreTypes(Pos{})) {
				t.Errorf("%s changes nothing", over)
			}
		}
	}
}

func TestServiceCommandsAndSystemRoots(t *testing.T) {
	t.Parallel()
	c := load(t, filepath.Join("testdata", "good", "commands.yaml"))
	want := Service{
		Kind:  ServiceCommand,
		Start: []string{"sv", "up", "pg"}, Stop: []string{"sv", "down", "pg"},
		Restart: []string{"sv", "restart", "pg"}, Reload: []string{"sv", "hup", "pg"},
		Status: []string{"sv", "status", "1"},
	}
	if diff := cmp.Diff(want, c.Primary().Postgres.Service); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Replication.SSLRootCert != "system" || c.Replication.Password.File != "/run/secrets/repl" {
		t.Errorf("replication %+v", c.Replication)
	}
}

func TestHostsSharingOneClusterValueDoNotShareItsMemory(t *testing.T) {
	t.Parallel()
	c := load(t, filepath.Join("testdata", "good", "overrides.yaml"))
	c.Hosts[0].Postgres.Settings[0].Value = "changed"
	c.Hosts[0].Postgres.Tablespaces["/a"] = "changed"
	c.Hosts[0].SSH.IdentityFile[0] = "changed"
	other := c.Hosts[2]
	if other.Postgres.Settings[0].Value == "changed" || other.Postgres.Tablespaces["/a"] == "changed" ||
		other.SSH.IdentityFile[0] == "changed" {
		t.Errorf("a change to one host reached another: %+v", other)
	}
}

func TestClusterAnswersWhoStreamsFromWhom(t *testing.T) {
	t.Parallel()
	c := load(t, exampleFile("full.yaml"))
	if got := c.Primary().Name; got != "pg1" {
		t.Errorf("primary %s", got)
	}
	if got := names(c.Standbys()); got != "pg2 pg3 pg4-delayed" {
		t.Errorf("standbys %s", got)
	}
	if got := names(c.Downstreams(c.Primary())); got != "pg2 pg4-delayed" {
		t.Errorf("downstreams of the primary %s", got)
	}
	pg3, ok := c.Host("pg3")
	if !ok || c.Upstream(pg3).Name != "pg2" {
		t.Errorf("upstream of pg3: %v", c.Upstream(pg3))
	}
	if c.Upstream(c.Primary()) != nil {
		t.Error("the primary has an upstream")
	}
	if len(c.Downstreams(pg3)) != 0 {
		t.Errorf("downstreams of a leaf: %s", names(c.Downstreams(pg3)))
	}
	if _, ok := c.Host("PG3"); ok {
		t.Error("host names ignore case")
	}
}

func TestYAMLOfAClusterIsThatCluster(t *testing.T) {
	t.Parallel()
	for _, file := range goodFiles(t) {
		c := load(t, file)
		out, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(file, out)
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
			continue
		}
		if diff := cmp.Diff(c, again, cmpopts.IgnoreTypes(Pos{})); diff != "" {
			t.Errorf("%s (-read +read again):\n%s", file, diff)
		}
	}
}

func TestYAMLShowsEveryValueOfEachHost(t *testing.T) {
	t.Parallel()
	out, err := load(t, exampleFile("full.yaml")).YAML()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("testdata", "full-resolved.yaml"), out)
}

func TestGraphIndentsEachHostBelowItsUpstream(t *testing.T) {
	t.Parallel()
	want := `shop
  pg1  primary 10.0.0.11 port 5432
    pg2  standby 10.0.0.12 port 5432 slot pg2 synchronous
      pg3  standby 10.1.0.13 port 5432 slot pg3
    pg4-delayed  standby pg4.example.org port 5433 slot late delay 2h traffic none
`
	if diff := cmp.Diff(want, load(t, exampleFile("full.yaml")).Graph()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExampleIsTheMinimalInventory(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(exampleFile("minimal.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(file), string(Example())); diff != "" {
		t.Errorf("examples/inventories/minimal.yaml and example.yaml differ:\n%s", diff)
	}
	if lines := strings.Count(string(file), "\n"); lines > 15 {
		t.Errorf("%d lines are not readable at a glance", lines)
	}
}

func TestLoadNamesTheNextCommandWhenTheFileIsMissing(t *testing.T) {
	t.Parallel()
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if fault.ClassOf(err) != fault.Invalid {
		t.Errorf("class %d of %v", fault.ClassOf(err), err)
	}
	e, ok := err.(*fault.Error)
	if !ok || !strings.Contains(e.Hint, "pgrepctl inventory init") {
		t.Errorf("no hint in %#v", err)
	}
}

func TestLoadRefusesAFileThatIsTooLarge(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(file, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestSecretRefNamesTheReferenceOnly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ref  SecretRef
		want string
	}{
		{SecretRef{}, "no secret"},
		{SecretRef{Env: "PW"}, "environment variable PW"},
		{SecretRef{File: "~/pw"}, "file ~/pw"},
		{SecretRef{Command: []string{"pass", "show", "x"}}, "command pass"},
	} {
		if got := tc.ref.String(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
		if tc.ref.IsZero() != (tc.want == "no secret") {
			t.Errorf("%v: IsZero is %v", tc.ref, tc.ref.IsZero())
		}
	}
}

// An inventory is data: reading one must reach no host and run nothing.
func TestPackageReachesNeitherNetworkNorProcesses(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range strings.Fields(string(out)) {
		if dep == "net" || dep == "os/exec" || strings.HasPrefix(dep, "net/http") {
			t.Errorf("imports %s", dep)
		}
	}
}
