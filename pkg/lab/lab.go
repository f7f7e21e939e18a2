package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

const (
	// DefaultName is the name of a lab when none is given.
	DefaultName = "lab"
	// MaxHosts is how many hosts a lab can have: h1 is 10.77.0.11.
	MaxHosts = 200

	controller = "10.77.0.1"
)

// Layout says where PostgreSQL keeps its files on the hosts.
type Layout string

const (
	// DebianEtc is what pg_createcluster makes: data in
	// /var/lib/postgresql/<version>/main, configuration in
	// /etc/postgresql/<version>/main, started by pg_ctlcluster.
	DebianEtc Layout = "debian-etc"
	// DataDirectory is what initdb makes: everything in
	// /var/lib/postgresql/<version>/data, started by pg_ctl.
	DataDirectory Layout = "data-directory"
)

// Host is one machine of a lab.
type Host struct {
	Name    string     `json:"name"` // h1, h2, …
	Address netip.Addr `json:"address"`
}

func (h Host) mac() string {
	return fmt.Sprintf("02:4c:41:42:00:%02x", h.Address.As4()[3])
}

// Lab is a lab that is up. Its methods are safe for concurrent use, and other
// processes may act on the same lab.
type Lab struct {
	dir string
	config
}

// config is lab.json.
type config struct {
	Name     string `json:"name"`
	Postgres string `json:"postgres"`
	Layout   Layout `json:"layout"`
	// Rootfs are the directories that the hosts' root file systems lie over,
	// upper ones first, with colons between them.
	Rootfs   string `json:"rootfs"`
	Disks    string `json:"disks"`
	Rootless bool   `json:"rootless"`
	// PlainData: see Options.
	PlainData bool `json:"plain_data,omitempty"`
	// Cgroup is the control group that the hosts' lie in. Only where systemd boots them.
	Cgroup   string `json:"cgroup,omitempty"`
	Binary   string `json:"binary"`
	Machines []Host `json:"hosts"`
	// Stands is written last: without it `up` has not finished.
	Stands bool `json:"stands"`
}

// Open finds a lab that Up made, in this process or another. An empty state is
// the default state directory. The error is a *fault.Error if there is no such
// lab, or its processes are gone because the machine was restarted.
func Open(state, name string) (*Lab, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	l, err := load(state, name)
	if err != nil {
		return nil, err
	}
	if !l.Stands {
		return nil, &fault.Error{Class: fault.Refused, Op: "open lab " + name, Err: errors.New("its up has not finished"), Hint: "pgrepctl lab down --name " + name}
	}
	if _, err := l.pid1(); err != nil {
		return nil, err
	}
	return l, nil
}

// List returns the names of all labs in a state directory (empty: the default
// one), in order, whether they are up or left half-way.
func List(state string) ([]string, error) {
	state, err := stateRoot(state)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && validName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Hosts returns the hosts in order; the first is the primary.
func (l *Lab) Hosts() []Host { return append([]Host(nil), l.Machines...) }

// Dir is the directory that holds everything of the lab but the hosts' disks.
func (l *Lab) Dir() string { return l.dir }

// InventoryPath is the inventory file that describes the lab.
func (l *Lab) InventoryPath() string { return filepath.Join(l.dir, "inventory.yaml") }

// SSHConfigPath is an ssh_config with which `ssh -F FILE h1` works.
func (l *Lab) SSHConfigPath() string { return filepath.Join(l.dir, "ssh_config") }

// IdentityPath is the private key that users admin, postgres and root of every
// host accept.
func (l *Lab) IdentityPath() string { return filepath.Join(l.dir, "id") }

// PasswordPath holds the password of the replication role in the inventory.
func (l *Lab) PasswordPath() string { return filepath.Join(l.dir, "replication-password") }

// KnownHostsPath holds the host keys of all hosts, by name and address.
func (l *Lab) KnownHostsPath() string { return filepath.Join(l.dir, "known_hosts") }

// host finds one by name or address.
func (l *Lab) host(name string) (Host, error) {
	for _, h := range l.Machines {
		if h.Name == name || h.Address.String() == name {
			return h, nil
		}
	}
	return Host{}, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("lab %s has no host %q", l.Name, name), Hint: "pgrepctl lab status --name " + l.Name}
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// stateRoot is the directory of all labs, absolute.
func stateRoot(dir string) (string, error) {
	if dir == "" {
		base := os.Getenv("XDG_STATE_HOME")
		if base == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("find state directory: %w", err)
			}
			base = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(base, "pgrepctl", "lab")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find state directory: %w", err)
	}
	return dir, nil
}

func labDir(state, name string) (string, error) {
	if !validName.MatchString(name) {
		return "", &fault.Error{Class: fault.Usage, Err: fmt.Errorf("lab name %q: want lower-case letters, digits and dashes", name)}
	}
	root, err := stateRoot(state)
	if err != nil {
		return "", err
	}
	return filepath.Join(root, name), nil
}

func load(state, name string) (*Lab, error) {
	dir, err := labDir(state, name)
	if err != nil {
		return nil, err
	}
	l := &Lab{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(state, name)
	}
	if err != nil {
		return nil, fmt.Errorf("read lab: %w", err)
	}
	if err := json.Unmarshal(b, &l.config); err != nil {
		return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, "lab.json"), err)
	}
	return l, nil
}

// absent names the labs that there are: the name is easily left out.
func absent(state, name string) error {
	hint := "pgrepctl lab up --name " + name
	if names, err := List(state); err == nil && len(names) > 0 {
		hint = "give the --name of one that there is (" + strings.Join(names, ", ") + "), or make it: " + hint
	}
	return &fault.Error{Class: fault.Refused, Err: fmt.Errorf("there is no lab %q", name), Hint: hint}
}

func (l *Lab) save() error {
	b, err := json.MarshalIndent(l.config, "", "  ")
	if err != nil {
		return fmt.Errorf("write lab: %w", err)
	}
	if err := replaceFile(filepath.Join(l.dir, "lab.json"), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write lab: %w", err)
	}
	return nil
}

// replaceFile writes a file in one step, so that a reader or a killed writer
// never leaves half of it.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func makeHosts(n int) []Host {
	hosts := make([]Host, n)
	for i := range hosts {
		hosts[i] = Host{Name: "h" + strconv.Itoa(i+1), Address: netip.AddrFrom4([4]byte{10, 77, 0, byte(11 + i)})}
	}
	return hosts
}
