package remote

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/pkg/sftp"
)

// sftpFailure is SSH_FX_FAILURE: SFTP has no status for a full disk, a quota or
// a read-only file system, and a server sends this one for all of them.
const sftpFailure = 4

// room adds to a write of n bytes in dir that failed what SFTP cannot say: that
// there is no space left. A temporary file that was part of it still takes its
// space, so this has to be asked before it is removed.
func room(c *sftp.Client, dir string, n int, err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) || status.Code != sftpFailure {
		return err
	}
	fs, vfsErr := c.StatVFS(dir)
	if vfsErr != nil {
		return err
	}
	if fs.Bavail*fs.Frsize >= uint64(n) && (fs.Files == 0 || fs.Favail > 0) {
		return err
	}
	return fmt.Errorf("%w where %s is: %w", syscall.ENOSPC, dir, err)
}
