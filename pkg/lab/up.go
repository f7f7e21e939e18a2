package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Options say what lab to make. The zero value is one with the default name,
// two hosts, PostgreSQL 15 in Debian's layout, and nothing running on them.
type Options struct {
	Name     string // default DefaultName
	Hosts    int    // default 2
	Postgres string // major version, 10 to 18; default 15
	// Build is the directory of a build of PostgreSQL for these hosts, with its
	// bin, lib and share; it decides the version, of 9.6 for instance.
	Build  string
	Layout Layout // default DebianEtc
	// Packages are Debian packages that the hosts have besides. Their root file
	// system is one of its own.
	Packages []string
	// Systemd boots the hosts with a real systemd as PID 1. Only for root.
	Systemd bool
	// Cluster makes a running primary on the first host, and of the others
	// what a standby is bootstrapped on: see CreatePrimary and PrepareStandby.
	Cluster bool
	// State is the directory of all labs; default
	// $XDG_STATE_HOME/pgrepctl/lab.
	State string
	// Disks is where the hosts' disks are kept; default with the rest of the
	// lab. A tmpfs makes them fast; a container's own root file system is an
	// overlay and cannot hold them.
	Disks string
	// PlainData keeps /var/lib/postgresql of each host in the file system of its
	// disk, as on a machine, not on the overlay that the rest of its root is.
	PlainData bool
	// Binary is the pgrepctl that the inventory's proxy_command runs; default
	// this program if it is called pgrepctl, else "pgrepctl" from PATH.
	Binary string
	// Notify is told what takes long. It may be nil.
	Notify func(text string)
}

// cleanupTimeout bounds what must be done when the caller's context has ended.
const cleanupTimeout = 30 * time.Second

// Up makes a lab and returns when all of its hosts answer. If it fails, or ctx
// ends, or the process is killed, nothing of the lab goes on running.
func Up(ctx context.Context, o Options) (_ *Lab, err error) {
	if err := supported(); err != nil {
		return nil, err
	}
	l, trees, err := o.plan()
	if err != nil {
		return nil, err
	}
	say := o.Notify
	if say == nil {
		say = func(string) {}
	}
	if err := checkTools("ip", "mount", "nsenter", "pivot_root", "setpriv", "setsid", "umount", "unshare"); err != nil {
		return nil, err
	}
	for _, t := range trees {
		if err := t.ensure(ctx, l.Rootless, say); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make lab directory: %w", err)
	}
	release, err := lock(l.dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := l.takeOver(ctx, o.State); err != nil {
		return nil, err
	}
	defer func() {
		if err == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		err = errors.Join(err, l.remove(ctx))
	}()
	if err := l.writeState(); err != nil {
		return nil, err
	}
	m, err := l.startMachine(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.abandon()
		}
	}()
	if err := l.boot(ctx, o.Cluster); err != nil {
		return nil, err
	}
	if err := m.stands(); err != nil {
		return nil, err
	}
	l.Stands = true
	return l, l.save()
}

func (l *Lab) boot(ctx context.Context, cluster bool) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, h := range l.Machines {
		g.Go(func() error {
			if err := l.Start(ctx, h.Name); err != nil {
				return err
			}
			switch {
			case !cluster:
				return nil
			case i == 0:
				return l.CreatePrimary(ctx, h.Name, l.Layout)
			default:
				return l.PrepareStandby(ctx, h.Name, l.Layout)
			}
		})
	}
	return g.Wait()
}

func (o Options) plan() (*Lab, []tree, error) {
	usage := func(format string, a ...any) (*Lab, []tree, error) {
		return nil, nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf(format, a...)}
	}
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Hosts == 0 {
		o.Hosts = 2
	}
	if o.Build != "" && o.Postgres != "" {
		return usage("a build of your own is of one version: give no other")
	}
	if o.Postgres == "" {
		o.Postgres = "15"
	}
	if o.Layout == "" {
		o.Layout = DebianEtc
	}
	if o.Layout != DebianEtc && o.Layout != DataDirectory {
		return usage("layout %q: want %s or %s", o.Layout, DebianEtc, DataDirectory)
	}
	if o.Hosts < 1 || o.Hosts > MaxHosts {
		return usage("%d hosts: want 1 to %d", o.Hosts, MaxHosts)
	}
	var cgroup string
	if o.Systemd {
		dir, err := labDir(o.State, o.Name)
		if err != nil {
			return nil, nil, err
		}
		if cgroup, err = planCgroup(dir); err != nil {
			return nil, nil, err
		}
	}
	trees, err := planTrees(&o)
	if err != nil {
		return nil, nil, err
	}
	var paths []string
	for _, t := range trees {
		paths = append(paths, t.path())
	}
	dir, err := labDir(o.State, o.Name)
	if err != nil {
		return nil, nil, err
	}
	disks := dir
	if o.Disks != "" {
		if disks, err = filepath.Abs(o.Disks); err != nil {
			return nil, nil, fmt.Errorf("find disk directory: %w", err)
		}
		disks = filepath.Join(disks, "pgrepctl-lab-"+o.Name)
	}
	for _, p := range append([]string{disks}, paths...) {
		// They separate the options of an overlay mount.
		if strings.ContainsAny(p, `:,\`) {
			return usage("directory %q: an overlay mount cannot name it", p)
		}
	}
	binary, err := o.binary()
	if err != nil {
		return nil, nil, err
	}
	for _, p := range []string{dir, binary} {
		if strings.ContainsAny(p, "%\"\n") {
			return usage("path %q: an ssh_config cannot name it", p)
		}
	}
	return &Lab{dir: dir, config: config{
		Name: o.Name, Postgres: o.Postgres, Layout: o.Layout, Rootfs: strings.Join(paths, ":"), Disks: disks,
		Rootless: mayRootless(), PlainData: o.PlainData, Cgroup: cgroup, Binary: binary, Machines: makeHosts(o.Hosts),
	}}, trees, nil
}

func (o Options) binary() (string, error) {
	if o.Binary != "" {
		path, err := filepath.Abs(o.Binary)
		if err != nil {
			return "", fmt.Errorf("find pgrepctl: %w", err)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil && filepath.Base(self) == "pgrepctl" {
		return self, nil
	}
	return "pgrepctl", nil
}

// takeOver makes sure that nothing of a former lab of this name is there: it
// refuses if that one stood, and removes what a killed Up left.
func (l *Lab) takeOver(ctx context.Context, state string) error {
	old, err := load(state, l.Name)
	var absent *fault.Error
	switch {
	case errors.As(err, &absent):
	case err != nil:
		return err
	case old.Stands:
		return fault.Refuse("", "pgrepctl lab down --name "+l.Name, fmt.Errorf("there is a lab %q already", l.Name))
	default:
		if err := old.remove(ctx); err != nil {
			return err
		}
		if err := os.MkdirAll(l.dir, 0o700); err != nil {
			return fmt.Errorf("make lab directory: %w", err)
		}
	}
	if l.Disks == l.dir {
		return nil
	}
	err = os.Mkdir(l.Disks, 0o700)
	switch {
	case errors.Is(err, fs.ErrExist):
		err = fault.Refuse("", "give another --dir, or remove it", fmt.Errorf("%s exists already", l.Disks))
	case err != nil:
		err = fmt.Errorf("make disk directory: %w", err)
	default:
		return nil
	}
	return errors.Join(err, removeTree(ctx, l.dir, l.Rootless))
}

func checkTools(names ...string) error {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return &fault.Error{Class: fault.Refused, Op: "look for the programs a lab needs", Err: err, Hint: "apt-get install iproute2 util-linux mount (as root, with /usr/sbin in PATH)"}
		}
	}
	return nil
}
