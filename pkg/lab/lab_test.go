package lab

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// written is a lab of which only the files exist.
func written(t *testing.T, o Options) *Lab {
	t.Helper()
	o.State = t.TempDir()
	l, _, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.writeState(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestInventoryDescribesTheLab(t *testing.T) {
	t.Parallel()
	for layout, want := range map[Layout][3]string{
		DebianEtc:     {"/var/lib/postgresql/15/main", "/etc/postgresql/15/main", "pg_ctlcluster"},
		DataDirectory: {"/var/lib/postgresql/15/data", "/var/lib/postgresql/15/data", "pg_ctl"},
	} {
		t.Run(string(layout), func(t *testing.T) {
			t.Parallel()
			l := written(t, Options{Name: "shop", Hosts: 3, Layout: layout, Binary: "/opt/bin/pgrepctl"})
			c, err := inventory.Load(l.InventoryPath())
			if err != nil {
				t.Fatal(err)
			}
			h := c.Hosts[1]
			got := [3]string{h.Postgres.DataDirectory, h.Postgres.ConfigDirectory, string(h.Postgres.Service.Kind)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			proxy := []string{"/opt/bin/pgrepctl", "lab", "dial", "--state", filepath.Dir(l.Dir()), "--name", "shop", "%h", "%p"}
			if diff := cmp.Diff(proxy, h.SSH.ProxyCommand); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{l.KnownHostsPath()}, h.SSH.KnownHosts); diff != "" {
				t.Error(diff)
			}
			if c.Name != "shop" || len(c.Hosts) != 3 || h.Address != "10.77.0.12" {
				t.Errorf("cluster %q, %d hosts, second at %s", c.Name, len(c.Hosts), h.Address)
			}
		})
	}
}

func TestInventoryOfALabWithSystemdNamesTheUnit(t *testing.T) {
	t.Parallel()
	for layout, want := range map[Layout]inventory.Service{
		DebianEtc:     {Kind: inventory.ServiceSystemd, Name: "postgresql@15-main"},
		DataDirectory: {Kind: inventory.ServicePgCtl},
	} {
		l := written(t, Options{Layout: layout})
		l.Cgroup = "/sys/fs/cgroup/lab"
		if err := l.writeState(); err != nil {
			t.Fatal(err)
		}
		c, err := inventory.Load(l.InventoryPath())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Hosts[1].Postgres.Service); diff != "" {
			t.Errorf("%s: %s", layout, diff)
		}
	}
}

func TestOpenSSHReadsTheGeneratedConfig(t *testing.T) {
	t.Parallel()
	l := written(t, Options{Binary: "/opt/my bin/pgrepctl"})
	out, err := exec.Command("ssh", "-G", "-F", l.SSHConfigPath(), "h2").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"user admin\n", "identityfile " + l.IdentityPath() + "\n", "stricthostkeychecking true\n",
		"proxycommand \"/opt/my bin/pgrepctl\" lab dial",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestFilesOfALabAreItsUsersAlone(t *testing.T) {
	t.Parallel()
	l := written(t, Options{})
	for _, name := range []string{"id", "replication-password", "inventory.yaml", "lab.json", "h1/hostkey"} {
		info, err := os.Stat(filepath.Join(l.Dir(), name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

func TestWrongOptionsAreUsageErrors(t *testing.T) {
	t.Parallel()
	for what, o := range map[string]Options{
		"too many hosts":  {Hosts: MaxHosts + 1},
		"negative hosts":  {Hosts: -1},
		"no such release": {Postgres: "9"},
		"a minor release": {Postgres: "18.2"},
		"no such layout":  {Layout: "scattered"},
		"path as name":    {Name: "../x"},
		"upper case name": {Name: "Lab"},
		"colon in disks":  {Disks: "/tmp/a:b"},
	} {
		o.State = t.TempDir()
		if _, _, err := o.plan(); fault.ClassOf(err) != fault.Usage {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAbsentLab(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	_, err := Open(state, "lab")
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Refused || f.Hint == "" {
		t.Errorf("open: %v", err)
	}
	if err := Down(context.Background(), state, "lab"); err != nil {
		t.Errorf("down: %v", err)
	}
	if names, err := List(filepath.Join(state, "none")); err != nil || len(names) != 0 {
		t.Errorf("list: %v %v", names, err)
	}
}

func TestLabWithoutProcessesIsToldApart(t *testing.T) {
	t.Parallel()
	l := written(t, Options{})
	state := filepath.Dir(l.Dir())
	if _, err := Open(state, l.Name); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("half-made lab: %v", err)
	}
	l.Stands = true
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(state, l.Name); fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "not running") {
		t.Errorf("lab after a restart: %v", err)
	}
	if err := Down(context.Background(), state, l.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("files are left: %v", err)
	}
}

func TestOneCommandAtATimeMakesOrRemovesALab(t *testing.T) {
	t.Parallel()
	l := written(t, Options{})
	release, err := lock(l.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Down(context.Background()); fault.ClassOf(err) != fault.Locked {
		t.Errorf("down of a locked lab: %v", err)
	}
	release()
	if err := l.Down(context.Background()); err != nil {
		t.Error(err)
	}
}
