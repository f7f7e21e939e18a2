package effect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// PassEntry is a server that a password file has a line for.
type PassEntry struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// Passfile names the lines that bootstrap wrote into a password file.
type Passfile struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	// Whole: the file is the tool's alone. Otherwise it is the OS user's own
	// .pgpass, and other lines in it stay.
	Whole   bool        `json:"whole"`
	User    string      `json:"user"`
	Entries []PassEntry `json:"entries"`
}

// line is one line of it, for a password.
func (p *Passfile) line(e PassEntry, pw secret.Value) (string, error) {
	l, err := postgres.PassfileLine(e.Address, e.Port, "replication", p.User, pw)
	return l.Reveal(), err
}

// Ours reports whether a line is for one of the servers, whatever the password.
func (p *Passfile) Ours(line []byte) (bool, error) {
	for _, e := range p.Entries {
		const any = "x"
		l, err := p.line(e, secret.New(any))
		if err != nil {
			return false, err
		}
		if bytes.HasPrefix(line, []byte(l[:len(l)-len(any+"\n")])) {
			return true, nil
		}
	}
	return false, nil
}

// RemovePassfile takes the replication password off a host: no copy of the file is
// kept, for it would hold the password too. Undoing writes it from its source again.
type RemovePassfile struct {
	Passfile
	// Images are the bytes that earlier runs kept of it, which go too.
	Images []string `json:"images,omitempty"`
}

func (e *RemovePassfile) Kind() string { return "remove-passfile" }
func (e *RemovePassfile) On() string   { return e.Host }

// Known: the file is gone, or holds what is not ours.
func (e *RemovePassfile) Known() bool { return e.Whole }

func (e *RemovePassfile) Describe() Description {
	return Description{Verb: "remove", Subject: "the replication password from " + e.Path}
}

func (e *RemovePassfile) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.SetFile(e.As, host.File{Path: e.Path})
		for _, p := range e.Images {
			h.SetFile(e.As, host.File{Path: p})
		}
	}
}

func (e *RemovePassfile) Inverse() Effect { return &WritePassfile{Passfile: e.Passfile} }

func (e *RemovePassfile) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if err := sweep(ctx, files, e.Path); err != nil {
		return nil, err
	}
	for _, p := range e.Images {
		if err := dropKept(ctx, env, e.Host, e.As, []string{p, p + sumsSuffix}, path.Dir(p)); err != nil {
			return nil, err
		}
	}
	if e.Whole {
		return nil, dropKept(ctx, env, e.Host, e.As, []string{e.Path}, path.Dir(e.Path))
	}
	var wrong error
	err = editLines(ctx, env, e.Host, e.As, e.Path, 0, func(now host.File) ([]byte, bool) {
		var keep []byte
		for l := range bytes.Lines(now.Data) {
			ours, err := e.Ours(l)
			wrong = errors.Join(wrong, err)
			if !ours {
				keep = append(keep, l...)
			}
		}
		return keep, len(keep) > 0
	})
	return nil, errors.Join(wrong, err)
}

// WritePassfile puts the password back. It is not in the journal: it is asked for
// where the inventory says.
type WritePassfile struct{ Passfile }

func (e *WritePassfile) Kind() string    { return "write-passfile" }
func (e *WritePassfile) On() string      { return e.Host }
func (e *WritePassfile) Inverse() Effect { return nil }
func (e *WritePassfile) Predict(World)   {}
func (e *WritePassfile) Describe() Description {
	return Description{Verb: "write", Subject: "the replication password into " + e.Path, Detail: "(0600)"}
}

func (e *WritePassfile) Do(ctx context.Context, env Env) (Output, error) {
	pw, err := env.Password(ctx)
	if err != nil {
		return nil, fmt.Errorf("the replication password: %w", err)
	}
	if pw.IsZero() {
		return nil, fault.Refuse(e.Host, "say in the inventory where the password is (replication.password), then undo again",
			errors.New("the replication password has to be written again, and the inventory gives none"))
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if err := sweep(ctx, files, e.Path); err != nil {
		return nil, err
	}
	now, err := files.Read(ctx, e.Path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e.Path, err)
	}
	var want []byte
	for _, x := range e.Entries {
		l, err := e.line(x, pw)
		if err != nil {
			return nil, fmt.Errorf("passfile: %w", err)
		}
		want = append(want, l...)
	}
	if e.Whole {
		if err := files.Mkdir(ctx, path.Dir(e.Path), 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w", path.Dir(e.Path), err)
		}
	} else {
		for l := range bytes.Lines(now.Data) {
			ours, err := e.Ours(l)
			if err != nil {
				return nil, fmt.Errorf("passfile: %w", err)
			}
			if !ours {
				want = append(want, l...)
			}
		}
	}
	if now.Exists && bytes.Equal(now.Data, want) && now.Mode.Perm() == 0o600 {
		return nil, nil
	}
	f := host.File{Path: e.Path, Exists: true, Data: want, Mode: 0o600, UID: -1, GID: -1}
	if err := files.Write(ctx, f, &now); err != nil {
		return nil, fmt.Errorf("write %s: %w", e.Path, err)
	}
	return nil, nil
}
