package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// planCgroup names the control group below which the hosts of a lab have theirs:
// a systemd that shared one with the machine would take it for its own. It lies
// at the root, so that it outlives the login session that made the lab.
func planCgroup(dir string) (string, error) {
	if os.Geteuid() != 0 {
		return "", &fault.Error{Class: fault.Refused, Op: "make hosts that systemd boots", Err: errors.New("each of them needs a control group of its own, which only root can make"),
			Hint: "run it as root, or without --systemd"}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find control groups: %w", err)
	}
	root := cgroupRoot(string(mounts))
	if root == "" {
		return "", &fault.Error{Class: fault.Refused, Op: "make hosts that systemd boots", Err: errors.New("control groups of version 2 are not mounted here"),
			Hint: "mount -t cgroup2 cgroup2 /sys/fs/cgroup, or do without --systemd"}
	}
	// Two users of one name, or two state directories, have two groups.
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(root, "pgrepctl-lab-"+filepath.Base(dir)+"-"+hex.EncodeToString(sum[:4])), nil
}

// cgroupRoot finds the mount of cgroup2 in a mountinfo (proc(5)): /sys/fs/cgroup,
// or a directory below it where version 1 is in use beside it.
func cgroupRoot(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		before, after, _ := strings.Cut(line, " - ")
		f, kind := strings.Fields(before), strings.Fields(after)
		if len(f) >= 5 && len(kind) > 0 && kind[0] == "cgroup2" && f[3] == "/" {
			return f[4]
		}
	}
	return ""
}

// removeCgroup removes a control group and those below it. Their processes have
// been killed; the last of them may need a moment to be gone.
func removeCgroup(ctx context.Context, dir string) error {
	if dir == "" {
		return nil
	}
	for {
		var dirs []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		for _, d := range slices.Backward(dirs) {
			if rm := os.Remove(d); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
				err = errors.Join(err, rm)
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove control group: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
