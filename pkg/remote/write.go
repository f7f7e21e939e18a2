package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Write implements host.Files.
func (f *files) Write(ctx context.Context, file host.File, ifWas *host.File) error {
	return f.do(ctx, "write", file.Path, func(c *sftp.Client) error {
		target, err := followLinks(c, file.Path)
		if err != nil {
			return err
		}
		return replace(c, target, file, ifWas)
	})
}

func followLinks(c *sftp.Client, name string) (string, error) {
	return host.FollowLinks(name, func(name string) (fs.FileMode, error) {
		info, err := c.Lstat(name)
		if err != nil {
			return 0, err
		}
		return info.Mode(), nil
	}, c.ReadLink)
}

// replace writes beside the target and renames. The name begins with a dot:
// PostgreSQL's include_dir and pg_hba's @file lists pass over such names.
func replace(c *sftp.Client, target string, file host.File, ifWas *host.File) (err error) {
	dir := path.Dir(target)
	temp := path.Join(dir, "."+path.Base(target)+"."+nonce())
	h, err := c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("create temporary file: %w", room(c, dir, len(file.Data), err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreClosed(h.Close()), ignoreMissing(c.Remove(temp)))
		}
	}()
	info, err := h.Stat()
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	want := [2]int{file.UID, file.GID}
	if want[0] < 0 {
		want[0] = uid
	}
	if want[1] < 0 {
		want[1] = gid
	}
	// The owner first: chown clears mode bits, and until the rename nobody
	// looks at the file.
	if want != [2]int{uid, gid} {
		if err := h.Chown(want[0], want[1]); err != nil {
			return fmt.Errorf("set owner %d:%d: %w", want[0], want[1], err)
		}
	}
	if err := h.Chmod(file.Mode.Perm()); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	if _, err := h.ReadFrom(bytes.NewReader(file.Data)); err != nil {
		return room(c, dir, len(file.Data), err)
	}
	if err := h.Sync(); err != nil {
		return fmt.Errorf("fsync: %w", room(c, dir, len(file.Data), err))
	}
	if err := h.Close(); err != nil {
		return err
	}
	if ifWas != nil {
		// As late as can be: what is left is the time of one rename.
		if err := unchanged(c, target, *ifWas); err != nil {
			return err
		}
	}
	if err := c.PosixRename(temp, target); err != nil {
		return err
	}
	syncDir(c, dir) // where the server can: no step counts on it
	return nil
}

func unchanged(c *sftp.Client, target string, was host.File) error {
	now, err := readFile(c, target, int64(len(was.Data))+1)
	if err != nil {
		return err
	}
	if now.Exists != was.Exists || !bytes.Equal(now.Data, was.Data) {
		return host.ErrChanged
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
