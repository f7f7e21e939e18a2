// Package source gets secrets from where an inventory says they are: an
// environment variable, a file or the output of a command.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// maxSecret bounds what is read: a password has no more, a wrong path may
// name anything.
const maxSecret = 64 << 10

// Resolver resolves references. Its zero value knows no variable and no home.
type Resolver struct {
	// LookupEnv is os.LookupEnv outside tests.
	LookupEnv func(name string) (string, bool)
	// Home replaces ~ in files; "" refuses it.
	Home string
	// Stderr gets what a command says there, for prompts and its own errors;
	// nil discards it. It is never part of an error, because some programs
	// repeat their input.
	Stderr io.Writer
}

// Resolve returns the secret without its trailing line end. The zero reference
// is no secret and no error. Errors are *fault.Error and name the reference,
// never what it refers to.
func (r Resolver) Resolve(ctx context.Context, ref inventory.SecretRef) (secret.Value, error) {
	if ref.IsZero() {
		return secret.Value{}, nil
	}
	text, hint, err := r.read(ctx, ref)
	if err == nil {
		text, err = oneLine(text)
	}
	if err == nil {
		return secret.New(text), nil
	}
	if at := ref.Pos.String(); at != "" {
		err = fmt.Errorf("%s: %w", at, err)
	}
	class := fault.Auth
	if errors.Is(err, context.Canceled) {
		class = fault.Interrupted
	}
	return secret.Value{}, &fault.Error{Class: class, Op: "read secret from " + ref.String(), Err: err, Hint: hint}
}

func (r Resolver) read(ctx context.Context, ref inventory.SecretRef) (text, hint string, err error) {
	switch {
	case ref.Env != "":
		var ok bool
		if r.LookupEnv != nil {
			text, ok = r.LookupEnv(ref.Env)
		}
		if !ok {
			return "", "export " + ref.Env, errors.New("variable is not set")
		}
		return text, "", nil
	case ref.File != "":
		path, err := r.expand(ref.File)
		if err != nil {
			return "", "", err
		}
		return readFile(path)
	default:
		text, err = r.output(ctx, ref.Command)
		return text, "run the command by hand to see what it says", err
	}
}

func (r Resolver) expand(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "~/")
	switch {
	case !ok:
		return path, nil
	case r.Home == "":
		return "", errors.New("home directory is not known")
	}
	return filepath.Join(r.Home, rest), nil
}

// readFile checks the file that it has open, so that no other can take its
// place in between. O_NONBLOCK keeps a FIFO from holding the run.
func readFile(path string) (text, hint string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", "", withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", "", withoutPath(err)
	case !info.Mode().IsRegular():
		return "", "", errors.New("not a regular file")
	case info.Mode().Perm()&^0o600 != 0:
		return "", "chmod 0600 " + path, fmt.Errorf("mode %04o is wider than 0600", info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	return string(data), "", withoutPath(err)
}

// withoutPath drops the path from an error of package os: the reference names
// it already.
func withoutPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// output runs the command with an empty input: one that would ask must use
// the terminal itself, or fail.
func (r Resolver) output(ctx context.Context, argv []string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out := &limited{}
	cmd.Stdout = out
	cmd.Stderr = r.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	// A child of the command may hold its output open after its end.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case out.over:
		return "", errTooLong
	case err != nil:
		return "", err
	}
	return out.buf.String(), nil
}

// limited keeps at most maxSecret bytes and takes the rest without a word, so
// that the command ends as usual.
type limited struct {
	buf  bytes.Buffer
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > maxSecret {
		l.over = true
		return len(p), nil
	}
	return l.buf.Write(p)
}

var (
	errTooLong = fmt.Errorf("longer than %d KiB", maxSecret>>10)
	errEmpty   = errors.New("is empty")
	errLines   = errors.New("has more than one line, or a NUL byte")
)

// oneLine trims one line end. A secret with another cannot be written into
// .pgpass or sent to sudo.
func oneLine(text string) (string, error) {
	text = strings.TrimSuffix(text, "\n")
	text = strings.TrimSuffix(text, "\r")
	switch {
	case len(text) > maxSecret:
		return "", errTooLong
	case text == "":
		return "", errEmpty
	case strings.ContainsAny(text, "\n\r\x00"):
		return "", errLines
	}
	return text, nil
}
