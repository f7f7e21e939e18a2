package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed scripts/rootfs.sh
var rootfsScript string

//go:embed scripts/rootfs-systemd.sh
var rootfsSystemdScript string

// releaseOf is the Debian release of the hosts of a major version of PostgreSQL,
// and whether it packages that version. What no release packages runs on
// bookworm, which then has Debian's PostgreSQL 15 beside it.
func releaseOf(postgres string) (release, packaged string) {
	switch postgres {
	case "13":
		return "bullseye", "13"
	case "17":
		return "trixie", "17"
	}
	return "bookworm", "15"
}

// tree is a part of a root file system that hosts share, read-only.
type tree interface {
	// ensure makes it if it is not there.
	ensure(ctx context.Context, rootless bool, say func(string)) error
	path() string
}

// cacheDir is where the trees of all labs of this user are.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	return filepath.Join(dir, "pgrepctl", "lab"), nil
}

// planTrees returns the parts of the root file system for a major version, upper
// ones first. Hosts that systemd boots have a root of their own. A build of the
// user's own decides the version.
func planTrees(o *Options) ([]tree, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	var own *ownBuild
	if o.Build != "" {
		if own, err = planBuild(cache, o.Build); err != nil {
			return nil, err
		}
		o.Postgres = own.major
	}
	release, packaged := releaseOf(o.Postgres)
	if own != nil {
		release, packaged = "bookworm", "15"
	}
	root := planRootfs(cache, release, packaged, o.Packages...)
	if o.Systemd {
		root = planSystemdRootfs(cache, release, packaged, o.Packages...)
	}
	if own != nil {
		return []tree{own, root}, nil
	}
	if o.Postgres == packaged {
		return []tree{root}, nil
	}
	if strings.Contains(o.Postgres, ".") {
		return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("PostgreSQL %s: want a major version, 10 to 18", o.Postgres)}
	}
	bin, err := planBinaries(cache, o.Postgres)
	if err != nil {
		return nil, err
	}
	return []tree{bin, root}, nil
}

// rootfs is a Debian release with all that a database host needs.
type rootfs struct {
	release  string
	packages []string
	scripts  []string // that finish it
	dir      string   // final place
}

func planRootfs(cache, release, postgres string, more ...string) *rootfs {
	r := &rootfs{release: release, packages: append(hostPackages(postgres), more...), scripts: []string{rootfsScript}}
	r.dir = filepath.Join(cache, release+"-"+r.key())
	return r
}

// planSystemdRootfs is one of its own rather than packages laid over the other:
// the state of dpkg, and the units that packages enable, are of one tree.
func planSystemdRootfs(cache, release, postgres string, more ...string) *rootfs {
	r := &rootfs{release: release, scripts: []string{rootfsScript, rootfsSystemdScript},
		packages: slices.Concat(hostPackages(postgres), []string{"dbus", "libpam-systemd", "systemd", "systemd-sysv"}, more)}
	r.dir = filepath.Join(cache, release+"-systemd-"+r.key())
	return r
}

func hostPackages(postgres string) []string {
	return []string{
		"haproxy", "iproute2", "openssh-client", "openssh-server", "perl", "pgbouncer", "postgresql-" + postgres,
		"procps", "rsync", "ssl-cert", "sudo",
	}
}

// key is of all that decides what is in it, so that a newer pgrepctl builds its own.
func (r *rootfs) key() string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Concat([]string{runtime.GOARCH}, r.scripts, r.packages), "\x00")))
	return hex.EncodeToString(sum[:6])
}

func (r *rootfs) path() string { return r.dir }

// ensure builds the root file system if it is not there: one to four minutes.
func (r *rootfs) ensure(ctx context.Context, rootless bool, say func(string)) error {
	return ensureTree(ctx, r.dir, rootless, func(tmp string) error {
		say(fmt.Sprintf("building the root file system of the hosts (Debian %s; once, a few minutes)", r.release))
		return r.build(ctx, tmp, rootless)
	})
}

// ensureTree has a directory made by build, unless it is there. Two builds at
// once wait for each other; a build that dies leaves nothing that looks like a
// whole one.
func ensureTree(ctx context.Context, dir string, rootless bool, build func(tmp string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make cache directory: %w", err)
	}
	release, err := lockWait(ctx, dir+".lock")
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err // built while we waited
	}
	tmp := dir + ".partial" // ours alone: we hold the lock
	if err := removeTree(ctx, tmp, rootless); err != nil {
		return err
	}
	if err := build(tmp); err != nil {
		if rm := removeTree(context.WithoutCancel(ctx), tmp, rootless); rm != nil {
			err = errors.Join(err, rm)
		}
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("keep %s: %w", dir, err)
	}
	return nil
}

func (r *rootfs) build(ctx context.Context, dir string, rootless bool) error {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return &fault.Error{Class: fault.Refused, Op: "build root file system", Err: err, Hint: "apt-get install mmdebstrap"}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("build root file system: %w", err)
	}
	// A plain user's mmdebstrap maps user 0 to another user than our unshare
	// does, so the files go through a tar stream.
	argv := []string{"--quiet", "--variant=minbase", "--format=tar",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--include=" + strings.Join(r.packages, ",")}
	for _, s := range r.scripts {
		argv = append(argv, "--customize-hook="+s)
	}
	make := exec.CommandContext(ctx, "mmdebstrap", append(argv, r.release, "-")...)
	unpack := exec.CommandContext(ctx, "tar", "--extract", "--numeric-owner", "--exclude=./dev/*", "--directory="+dir)
	if rootless {
		unpack = asMappedRoot(ctx, unpack.Args...)
	}
	var makeLog, unpackLog bytes.Buffer
	make.Stderr, unpack.Stderr = &makeLog, &unpackLog
	rd, wr, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("build root file system: %w", err)
	}
	make.Stdout, unpack.Stdin = wr, rd

	runtime.LockOSThread() // see endWithParent
	defer runtime.UnlockOSThread()
	err = endWithParent(unpack).Start()
	rd.Close()
	if err != nil {
		wr.Close()
		return fmt.Errorf("build root file system: %w", err)
	}
	err = endWithParent(make).Start()
	wr.Close()
	if err == nil {
		err = make.Wait()
	}
	if err := errors.Join(err, unpack.Wait()); err != nil {
		return &fault.Error{Class: fault.Failed, Op: "build root file system", Err: err, Stderr: host.Tail(makeLog.String()+unpackLog.String(), 10), Hint: "check that apt can reach its mirror on this machine, then run it again"}
	}
	return nil
}

// asMappedRoot runs argv as root of the user namespace that the hosts' files
// belong to.
func asMappedRoot(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "unshare", append([]string{"--user", "--map-root-user", "--map-auto", "--"}, argv...)...)
}

// removeTree removes a directory of files that hosts own.
func removeTree(ctx context.Context, dir string, rootless bool) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !rootless {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
		return nil
	}
	if out, err := asMappedRoot(ctx, "rm", "-rf", "--", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("remove %s: %w: %s", dir, err, bytes.TrimSpace(out))
	}
	return nil
}
