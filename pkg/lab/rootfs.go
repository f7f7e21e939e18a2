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
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed scripts/rootfs.sh
var rootfsScript string

// releaseOf is the Debian release that packages a major version of PostgreSQL.
func releaseOf(postgres int) (string, error) {
	switch postgres {
	case 13:
		return "bullseye", nil
	case 15:
		return "bookworm", nil
	case 17:
		return "trixie", nil
	}
	return "", &fault.Error{Class: fault.Usage, Err: fmt.Errorf("PostgreSQL %d: no Debian release packages it", postgres), Hint: "--postgres 13, 15 or 17"}
}

// rootfs is the root file system that all hosts of a version share, read-only.
type rootfs struct {
	release  string
	packages []string
	dir      string // final place
}

func planRootfs(postgres int) (*rootfs, error) {
	release, err := releaseOf(postgres)
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find cache directory: %w", err)
	}
	r := &rootfs{release: release, packages: []string{
		"iproute2", "openssh-client", "openssh-server", "perl", fmt.Sprintf("postgresql-%d", postgres),
		"procps", "rsync", "ssl-cert", "sudo",
	}}
	// All that decides what is in it, so that a newer pgrepctl builds its own.
	sum := sha256.Sum256([]byte(strings.Join(append([]string{runtime.GOARCH, rootfsScript}, r.packages...), "\x00")))
	r.dir = filepath.Join(cache, "pgrepctl", "lab", release+"-"+hex.EncodeToString(sum[:6]))
	return r, nil
}

// ensure builds the root file system if it is not there: one to four minutes.
// Two builds at once wait for each other; a build that dies leaves nothing that
// looks like a root.
func (r *rootfs) ensure(ctx context.Context, rootless bool, say func(string)) error {
	if _, err := os.Stat(r.dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(r.dir), 0o755); err != nil {
		return fmt.Errorf("make cache directory: %w", err)
	}
	release, err := lockWait(ctx, r.dir+".lock")
	if err != nil {
		return err
	}
	defer release()
	if _, err := os.Stat(r.dir); !errors.Is(err, fs.ErrNotExist) {
		return err // built while we waited
	}
	tmp := r.dir + ".partial" // ours alone: we hold the lock
	if err := removeTree(ctx, tmp, rootless); err != nil {
		return err
	}
	say(fmt.Sprintf("building the root file system of the hosts (Debian %s; once, a few minutes)", r.release))
	if err := r.build(ctx, tmp, rootless); err != nil {
		if rm := removeTree(context.WithoutCancel(ctx), tmp, rootless); rm != nil {
			err = errors.Join(err, rm)
		}
		return err
	}
	if err := os.Rename(tmp, r.dir); err != nil {
		return fmt.Errorf("keep root file system: %w", err)
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
	make := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--include="+strings.Join(r.packages, ","),
		"--customize-hook="+rootfsScript,
		r.release, "-")
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
