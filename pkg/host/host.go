// Package host is the vocabulary for acting on one database host: commands,
// files and SQL sessions. It does nothing itself. pkg/remote implements it over
// SSH; tests implement the one or two methods they need.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Cmd is a command on a host. Argv is never a shell string: the transport
// quotes it, in one place.
type Cmd struct {
	Argv []string
	// As is the operating system user to run as; empty is the login user.
	As string
	// Leash ends the remote process when the client goes away. Without it a
	// process started over SSH outlives its connection.
	Leash bool
}

func (c Cmd) String() string { return strings.Join(c.Argv, " ") }

// Stdio connects a command. A nil In is an empty input; nil writers discard.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Runner runs commands.
type Runner interface {
	// Run returns nil only when the command ended with status 0. A command
	// that ended otherwise gives *ExitError; anything else means that the
	// outcome is not known (connection lost, context ended). Output written
	// to io.Out may be incomplete unless Run returned nil.
	Run(ctx context.Context, c Cmd, io Stdio) error
}

// ExitError is a command that ran and ended with a status other than 0.
type ExitError struct {
	Host   string
	Cmd    Cmd
	Code   int
	Signal string // "KILL" without "SIG", or empty
	Stderr string // whole, up to 64 KiB (the tail is kept)
}

func (e *ExitError) Error() string {
	what := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		what = "killed by SIG" + e.Signal
	}
	msg := fmt.Sprintf("%s: %s", e.Cmd.Argv[0], what)
	if t := Tail(e.Stderr, 1); t != "" {
		msg += ": " + t
	}
	return msg
}

// StderrOf returns the whole stderr of the *ExitError in err's tree.
func StderrOf(err error) string {
	var e *ExitError
	if errors.As(err, &e) {
		return e.Stderr
	}
	return ""
}

// Tail returns the last n non-empty lines of s.
func Tail(s string, n int) string {
	var lines []string
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimRight(l, " \r\t"); l != "" {
			lines = append(lines, l)
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// Output runs c and returns its stdout.
func Output(ctx context.Context, r Runner, c Cmd) ([]byte, error) {
	var out bytes.Buffer
	if err := r.Run(ctx, c, Stdio{Out: &out}); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// File is a regular file as it is on a host, or as it shall be.
type File struct {
	Path   string
	Exists bool
	Data   []byte
	Mode   fs.FileMode // permission bits only
	UID    int
	GID    int
}

// Entry is one name in a directory. Symlinks are not followed.
type Entry struct {
	Name string
	Mode fs.FileMode
	Size int64
	UID  int
}

// ErrChanged is returned by Files.Write when the file on the host is no longer
// what the plan was made from: somebody else edited it. Plan again.
var ErrChanged = errors.New("file changed since it was read")

// Files reads and writes files as one OS user. Paths are absolute.
type Files interface {
	// Read returns File{Exists: false} and no error for a missing file.
	// A symlink is followed.
	Read(ctx context.Context, path string) (File, error)
	// ReadSome is Read for at most max bytes of a file that may be large.
	ReadSome(ctx context.Context, path string, max int64) (File, error)
	// Stat does not follow a symlink. A missing path gives fs.ErrNotExist.
	Stat(ctx context.Context, path string) (Entry, error)
	// List returns the entries of a directory in name order, fs.ErrNotExist
	// if it is missing.
	List(ctx context.Context, dir string) ([]Entry, error)
	// ReadLink returns the target of a symlink.
	ReadLink(ctx context.Context, path string) (string, error)
	// Write replaces the file in one step: a temporary file beside it made
	// with O_EXCL, mode and (when not negative) owner set, fsynced, renamed,
	// and the directory fsynced where the server can. A symlink is edited at
	// its target. If f.Path must not have changed, give ifWas: the write is
	// refused with ErrChanged when the bytes on the host are not ifWas.Data
	// (or the file's existence differs).
	Write(ctx context.Context, f File, ifWas *File) error
	// Remove deletes a file, symlink or empty directory; a missing path is
	// not an error.
	Remove(ctx context.Context, path string) error
	// Mkdir makes one directory with exactly this mode. An existing
	// directory is not an error and keeps its mode.
	Mkdir(ctx context.Context, path string, mode fs.FileMode) error
	// Chmod sets permission bits.
	Chmod(ctx context.Context, path string, mode fs.FileMode) error
	// Symlink makes a symlink at path that points to target.
	Symlink(ctx context.Context, target, path string) error
	// Rename replaces newpath, in one step, and makes that durable.
	Rename(ctx context.Context, oldpath, newpath string) error
}

// maxLinks is Linux's limit for symlinks in one lookup.
const maxLinks = 40

// FollowLinks gives the path at the end of a chain of symlinks, where Files.Write writes and
// has its temporary file; the file itself may be missing. mode does not follow a symlink.
func FollowLinks(name string, mode func(name string) (fs.FileMode, error), readLink func(name string) (string, error)) (string, error) {
	for range maxLinks {
		is, err := mode(name)
		if errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		if is&fs.ModeSymlink == 0 {
			return name, nil
		}
		to, err := readLink(name)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(name), to)
		}
		name = to
	}
	return "", errors.New("too many levels of symbolic links")
}

// Exists reports whether something has that name, whatever it is and whoever may open
// it. An error: it cannot be told.
func Exists(ctx context.Context, f Files, path string) (bool, error) {
	_, err := f.Stat(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
