package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// MakeDir makes one directory.
type MakeDir struct {
	Host string      `json:"host"`
	As   string      `json:"as"`
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	Why  string      `json:"why,omitempty"`
	What string      `json:"what,omitempty"`

	Then func(*facts.Host) `json:"-"`
	// Own: the directory is no fact, see WriteFile.Inert. One that exists must be
	// that of user UID, and nobody else's: everybody may write where it is made.
	Own bool `json:"own,omitempty"`
	UID int  `json:"uid,omitempty"`
	// Claims names what it makes: see Claimer.
	Claims string `json:"-"`
}

func (e *MakeDir) Claim() string { return e.Claims }

func (e *MakeDir) Kind() string { return "make-dir" }
func (e *MakeDir) On() string   { return e.Host }
func (e *MakeDir) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		then(h, e.Then)
	}
}

// Inert: see WriteFile.
func (e *MakeDir) Inert() bool { return e.Own }

// Known: see WriteFile.
func (e *MakeDir) Known() bool { return e.Then != nil }

func (e *MakeDir) Describe() Description {
	d := Description{Verb: "make", Subject: "directory " + e.Path, Detail: e.Why}
	if e.What != "" {
		d.Subject = e.What
	}
	return d
}

func (e *MakeDir) Inverse() Effect {
	return &RemoveDir{Host: e.Host, As: e.As, Path: e.Path, What: e.What, Own: e.Own}
}

func (e *MakeDir) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if err := h.Files(e.As).Mkdir(ctx, e.Path, e.Mode); err != nil {
		return nil, fmt.Errorf("make directory %s: %w", e.Path, err)
	}
	if e.Own {
		return nil, e.isOurs(ctx, h.Files(e.As))
	}
	return nil, nil
}

func (e *MakeDir) isOurs(ctx context.Context, files host.Files) error {
	is, err := files.Stat(ctx, e.Path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", e.Path, err)
	}
	if !is.Mode.IsDir() || is.Mode.Perm() != e.Mode || is.UID != e.UID {
		return fault.Refuse(e.Host, "find out who has made it, remove it, and type the same command again",
			fmt.Errorf("%s exists, and belongs to user id %d (%s): somebody has taken the place of our directory", e.Path, is.UID, is.Mode))
	}
	return nil
}

// MakeDirs makes those of a list of directories that are missing, inside one
// that the run itself filled: undoing that undoes this.
type MakeDirs struct {
	Host  string      `json:"host"`
	As    string      `json:"as"`
	In    string      `json:"in"`
	Names []string    `json:"names"`
	Mode  fs.FileMode `json:"mode"`
}

func (e *MakeDirs) Kind() string    { return "make-dirs" }
func (e *MakeDirs) On() string      { return e.Host }
func (e *MakeDirs) Inverse() Effect { return nil }
func (e *MakeDirs) Predict(World)   {}
func (e *MakeDirs) Describe() Description {
	return Description{Verb: "make", Subject: fmt.Sprintf("what is missing of the %d directories that a server needs", len(e.Names)), Detail: "in " + e.In}
}

func (e *MakeDirs) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	for _, name := range e.Names {
		if err := h.Files(e.As).Mkdir(ctx, path.Join(e.In, name), e.Mode); err != nil {
			return nil, fmt.Errorf("make directory %s: %w", name, err)
		}
	}
	return nil, nil
}

// RemoveDir removes a directory if it is empty.
type RemoveDir struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	What string `json:"what,omitempty"`
	Own  bool   `json:"own,omitempty"`
}

func (e *RemoveDir) Kind() string    { return "remove-dir" }
func (e *RemoveDir) On() string      { return e.Host }
func (e *RemoveDir) Inverse() Effect { return nil }
func (e *RemoveDir) Predict(World)   {}

// Inert: see WriteFile.
func (e *RemoveDir) Inert() bool { return e.Own }

func (e *RemoveDir) Describe() Description {
	return Description{Verb: "remove", Subject: cmp.Or(e.What, "directory "+e.Path), Detail: "if it is empty"}
}

func (e *RemoveDir) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	names, err := files.List(ctx, e.Path)
	if errors.Is(err, fs.ErrNotExist) || len(names) > 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", e.Path, err)
	}
	if err := files.Remove(ctx, e.Path); err != nil {
		return nil, fmt.Errorf("remove directory %s: %w", e.Path, err)
	}
	return nil, nil
}

// Rename moves a file within one file system and makes the move durable.
type Rename struct {
	Host string `json:"host"`
	As   string `json:"as"`
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why,omitempty"`
	// Undo: it is an inverse, and harmless when there is nothing to undo.
	Undo bool `json:"undo,omitempty"`
	// Tells: the new name is an output, under KeptAs and the old one.
	Tells bool `json:"-"`

	Then func(*facts.Host) `json:"-"`
}

// KeptAs begins the key of an output: under which name a run has kept a directory.
const KeptAs = "kept:"

func (e *Rename) Kind() string { return "rename" }
func (e *Rename) On() string   { return e.Host }

// Known: see WriteFile.
func (e *Rename) Known() bool { return e.Then != nil }

func (e *Rename) Describe() Description {
	return Description{Verb: "rename", Subject: e.From + " to " + path.Base(e.To), Detail: e.Why}
}

func (e *Rename) Inverse() Effect {
	return &Rename{Host: e.Host, As: e.As, From: e.To, To: e.From, Undo: true}
}

func (e *Rename) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		then(h, e.Then)
	}
}

func (e *Rename) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if _, err := files.Stat(ctx, e.From); errors.Is(err, fs.ErrNotExist) {
		if _, err := files.Stat(ctx, e.To); err == nil || e.Undo {
			return e.told(), nil // done already, or never done
		}
	}
	if err := files.Rename(ctx, e.From, e.To); err != nil {
		return nil, fmt.Errorf("rename %s: %w", e.From, err)
	}
	return e.told(), nil
}

func (e *Rename) told() Output {
	if !e.Tells {
		return nil
	}
	return Output{KeptAs + e.From: e.To}
}

// syncPath fsyncs a file or directory.
func syncPath(ctx context.Context, r host.Runner, as, p string) error {
	if err := r.Run(ctx, host.Cmd{Argv: []string{"sync", p}, As: as}, host.Stdio{}); err != nil {
		return fmt.Errorf("fsync %s: %w", p, err)
	}
	return nil
}
