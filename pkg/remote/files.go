package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pkg/sftp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// serveFiles starts an sftp-server where sshd's subsystem cannot be used: the
// subsystem runs as the login user. umask: a new file is nobody else's until
// it has its mode.
const serveFiles = `umask 077
for p in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server; do
	[ -x "$p" ] && printf '%s\n' "$1" && exec "$p"
done
p=$(command -v sftp-server) && printf '%s\n' "$1" && exec "$p"
exit 127`

// files implements host.Files by one sftp-server process. pkg/sftp knows no
// context, so a call that is cancelled closes the process, and the next call
// starts another; calls take turns, so that nobody else is hit.
type files struct {
	conn *Conn
	as   string
	turn chan struct{} // holds one token

	// of the holder of the token
	client  *sftp.Client
	process *process
}

var _ host.Files = (*files)(nil)

// Files implements host.Host.
func (c *Conn) Files(as string) host.Files {
	if as == c.user {
		as = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.files[as]
	if f == nil {
		f = &files{conn: c, as: as, turn: make(chan struct{}, 1)}
		f.turn <- struct{}{}
		c.files[as] = f
	}
	return f
}

// wait ends the process after the connection was closed.
func (f *files) wait() {
	<-f.turn
	f.drop()
	f.turn <- struct{}{}
}

func (f *files) drop() {
	if f.client == nil {
		return
	}
	// The process first: pkg/sftp's Close can wait for answers (sftp#603).
	f.process.giveUp()
	_ = f.client.Close()
	f.client, f.process = nil, nil
}

// do gives op the sftp client and names the failing act.
func (f *files) do(ctx context.Context, act, name string, op func(*sftp.Client) error) error {
	if !path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s %q: path is not absolute, or holds a NUL", act, name)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", act, name, context.Cause(ctx))
	case <-f.turn:
	}
	defer func() { f.turn <- struct{}{} }()
	if err := f.open(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", act, name, err)
	}
	p := f.process
	cut := context.AfterFunc(ctx, func() { p.giveUp() })
	err := op(f.client)
	if !cut() {
		// It may have ended just before: then the answer stands, but the
		// process is on its way out.
		<-p.ended
	}
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) {
		p.endsWithin(closeGrace) // the client hears of it first
	}
	select {
	case <-p.ended:
		f.drop()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		default:
			err = f.conn.lostError(err)
		}
	default:
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", act, name, plain(err))
	}
	return nil
}

func (f *files) open(ctx context.Context) error {
	if f.client != nil {
		select {
		case <-f.process.ended:
			f.drop()
		default:
			return nil
		}
	}
	e, err := f.conn.elevation(ctx, f.as)
	if err != nil {
		return err
	}
	mark := nonce()
	argv := []string{"/bin/sh", "-c", serveFiles, "pgrepctl-files", mark}
	p, err := f.conn.start(ctx, e, host.Cmd{Argv: []string{"sftp-server"}, As: f.as}, argv, nil)
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	var client *sftp.Client
	go func() {
		err := skipPast(p.stdout, mark+"\n")
		if err == nil {
			client, err = sftp.NewClientPipe(p.stdout, p.stdin)
		}
		ready <- err
	}()
	select {
	case <-ctx.Done():
		p.giveUp()
		return fmt.Errorf("start sftp-server: %w", context.Cause(ctx))
	case err := <-ready:
		if err == nil {
			f.client, f.process = client, p
			f.conn.guard()
			return nil
		}
		_ = p.stdin.Close()
		if p.endsWithin(closeGrace) {
			if err := p.result(ctx); err != nil {
				return f.startError(err)
			}
		}
		p.giveUp()
		return fmt.Errorf("start sftp-server: %w", err)
	}
}

func (f *files) startError(err error) error {
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == 127 {
		return &fault.Error{
			Class: fault.Failed, Host: f.conn.Name(), Op: "start sftp-server", Err: errors.New("there is no sftp-server on the host"),
			Hint: "install it: apt-get install openssh-sftp-server, or dnf install openssh-server",
		}
	}
	return fmt.Errorf("start sftp-server: %w", err)
}

// plain removes pkg/sftp's decoration from the errors that callers test for.
func plain(err error) error {
	var status *sftp.StatusError
	if errors.As(err, &status) && errors.Is(err, fs.ErrPermission) {
		return fs.ErrPermission
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fs.ErrNotExist
	}
	return err
}

// Read implements host.Files.
func (f *files) Read(ctx context.Context, name string) (host.File, error) {
	return f.read(ctx, name, -1)
}

// ReadSome implements host.Files.
func (f *files) ReadSome(ctx context.Context, name string, limit int64) (host.File, error) {
	return f.read(ctx, name, max(limit, 0))
}

func (f *files) read(ctx context.Context, name string, limit int64) (host.File, error) {
	file := host.File{Path: name}
	err := f.do(ctx, "read", name, func(c *sftp.Client) (err error) {
		file, err = readFile(c, name, limit)
		return err
	})
	return file, err
}

func readFile(c *sftp.Client, name string, limit int64) (_ host.File, err error) {
	file := host.File{Path: name}
	h, err := c.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err != nil {
		return file, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	info, err := h.Stat()
	if err != nil {
		return file, err
	}
	if !info.Mode().IsRegular() {
		return file, errors.New("not a regular file")
	}
	var r io.Reader = h
	if limit >= 0 {
		r = io.LimitReader(h, limit)
	}
	if file.Data, err = io.ReadAll(r); err != nil {
		return file, err
	}
	file.Exists, file.Mode = true, info.Mode().Perm()
	file.UID, file.GID = owner(info)
	return file, nil
}

func owner(info fs.FileInfo) (uid, gid int) {
	if st, ok := info.Sys().(*sftp.FileStat); ok {
		return int(st.UID), int(st.GID)
	}
	return -1, -1
}

func entry(info fs.FileInfo) host.Entry {
	uid, _ := owner(info)
	return host.Entry{Name: path.Base(info.Name()), Mode: info.Mode(), Size: info.Size(), UID: uid}
}

// Stat implements host.Files.
func (f *files) Stat(ctx context.Context, name string) (host.Entry, error) {
	var e host.Entry
	err := f.do(ctx, "stat", name, func(c *sftp.Client) error {
		info, err := c.Lstat(name)
		if err == nil {
			e = entry(info)
		}
		return err
	})
	return e, err
}

// List implements host.Files.
func (f *files) List(ctx context.Context, dir string) ([]host.Entry, error) {
	var entries []host.Entry
	err := f.do(ctx, "list", dir, func(c *sftp.Client) error {
		infos, err := c.ReadDir(dir)
		for _, info := range infos {
			entries = append(entries, entry(info))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b host.Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// ReadLink implements host.Files.
func (f *files) ReadLink(ctx context.Context, name string) (target string, _ error) {
	err := f.do(ctx, "read link", name, func(c *sftp.Client) (err error) {
		target, err = c.ReadLink(name)
		return err
	})
	return target, err
}

// Remove implements host.Files.
func (f *files) Remove(ctx context.Context, name string) error {
	return f.do(ctx, "remove", name, func(c *sftp.Client) error {
		info, err := c.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.IsDir():
			err = c.RemoveDirectory(name)
		default:
			err = c.Remove(name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// Mkdir implements host.Files.
func (f *files) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	return f.do(ctx, "make directory", name, func(c *sftp.Client) error {
		err := c.Mkdir(name)
		if err == nil {
			return c.Chmod(name, mode.Perm())
		}
		// SFTP's version 3 has no "exists": ask.
		if info, serr := c.Stat(name); serr == nil && info.IsDir() {
			return nil
		}
		return err
	})
}

// Chmod implements host.Files.
func (f *files) Chmod(ctx context.Context, name string, mode fs.FileMode) error {
	return f.do(ctx, "change mode of", name, func(c *sftp.Client) error { return c.Chmod(name, mode.Perm()) })
}

// Symlink implements host.Files.
func (f *files) Symlink(ctx context.Context, target, name string) error {
	// The server cuts a NUL at the end off, and ends itself at any other.
	if strings.ContainsRune(target, 0) {
		return fmt.Errorf("make symlink %s: NUL in its target %q", name, target)
	}
	return f.do(ctx, "make symlink", name, func(c *sftp.Client) error { return c.Symlink(target, name) })
}

// Rename implements host.Files.
func (f *files) Rename(ctx context.Context, oldpath, newpath string) error {
	if !path.IsAbs(newpath) || strings.ContainsRune(newpath, 0) {
		return fmt.Errorf("rename %s to %q: path is not absolute, or holds a NUL", oldpath, newpath)
	}
	dir, synced := path.Dir(newpath), false
	err := f.do(ctx, "rename", oldpath, func(c *sftp.Client) error {
		// SFTP's own rename refuses to replace a file.
		if err := c.PosixRename(oldpath, newpath); err != nil {
			return err
		}
		synced = syncDir(c, dir)
		return nil
	})
	if err != nil || synced {
		return err
	}
	if err := f.conn.Run(ctx, host.Cmd{Argv: []string{"sync", dir}, As: f.as}, host.Stdio{}); err != nil {
		return fmt.Errorf("rename %s: fsync %s: %w", oldpath, dir, err)
	}
	return nil
}

// syncDir makes a rename durable, and reports whether it is. OpenSSH's sftp-server
// opens a directory as it opens a file, and fsyncs since 6.5; others may do neither.
func syncDir(c *sftp.Client, dir string) bool {
	h, err := c.OpenFile(dir, os.O_RDONLY)
	if err != nil {
		return false
	}
	return errors.Join(h.Sync(), h.Close()) == nil
}
