package effect

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// RestoreFile is the inverse of an edit.
type RestoreFile struct {
	Host      string `json:"host"`
	As        string `json:"as"`
	Path      string `json:"path"`
	Image     string `json:"image"`
	BeforeSHA string `json:"before_sha256,omitempty"`
	AfterSHA  string `json:"after_sha256,omitempty"`
	// Mode is that of the file before.
	Mode fs.FileMode `json:"mode"`
	// Sensitive: the hashes are beside the image, on the host.
	Sensitive bool `json:"sensitive,omitempty"`
	// Reload: the server reads it at once, before what was done earlier is taken
	// back too.
	Reload bool `json:"reload,omitempty"`
	// Was is what a file of our own held; it needs no image. See WriteFile.
	Was string `json:"was,omitempty"`
}

func (e *RestoreFile) Kind() string    { return "restore-file" }
func (e *RestoreFile) On() string      { return e.Host }
func (e *RestoreFile) Inverse() Effect { return nil }
func (e *RestoreFile) Predict(World)   {}
func (e *RestoreFile) Describe() Description {
	return Description{Verb: "restore", Subject: e.Path, Detail: "as it was before the run"}
}

func (e *RestoreFile) Do(ctx context.Context, env Env) (Output, error) {
	out, err := e.restore(ctx, env)
	if err != nil || !e.Reload {
		return out, err
	}
	up, err := answers(ctx, env, e.Host)
	if err == nil && up {
		_, err = (&Reload{Host: e.Host}).Do(ctx, env)
	}
	return out, err
}

func (e *RestoreFile) restore(ctx context.Context, env Env) (Output, error) {
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
	if e.Was != "" {
		return nil, e.ownBack(ctx, env, files, now)
	}
	if !now.Exists {
		// Gone with all that was beside it: a copy that came later in the run filled the
		// directory, and was taken back before this. One file that is missing from among
		// others was taken away by somebody.
		full, err := (&EmptyDirectory{As: e.As}).full(ctx, h, path.Dir(e.Path))
		if err != nil || !full {
			return nil, err
		}
	}
	k, err := e.kept(ctx, files)
	if err != nil {
		return nil, err
	}
	have := sum(now.Data)
	switch {
	case k.image == nil && e.Sensitive && !slices.Contains(k.after, have):
		return nil, e.refuseWithoutImage(env)
	case have == k.before && now.Exists && (e.Mode == 0 || e.Mode == now.Mode):
		return nil, nil
	case !now.Exists || have != k.before && !slices.Contains(k.after, have):
		return nil, fault.Refuse(e.Host, "compare it with "+e.Image+", which holds the bytes from before the run, and restore by hand what is missing",
			fmt.Errorf("restore %s: somebody else changed it after the run", e.Path))
	case k.image == nil || sum(k.image) != k.before:
		return nil, fmt.Errorf("restore %s: %s is missing or damaged", e.Path, e.Image)
	}
	f := now
	f.Data = k.image
	if e.Mode != 0 {
		f.Mode = e.Mode
	}
	if err := files.Write(ctx, f, &now); err != nil {
		return nil, fmt.Errorf("restore %s: %w", e.Path, err)
	}
	return nil, nil
}

// refuseWithoutImage: the image comes first, so without it nothing was written; unless it
// was, and the image was taken away since: a retire does that, for it may hold a password.
func (e *RestoreFile) refuseWithoutImage(env Env) error {
	if _, edited := env.Known(editedKey(e.Host, e.Path)); !edited {
		return nil
	}
	return &fault.Error{Class: fault.Refused, Host: e.Host, Op: "restore " + e.Path, State: "the file was left as it is",
		Err:  fmt.Errorf("the run has edited it, and %s, with the bytes from before, is gone (standby retire removes what may hold a replication password)", e.Image),
		Hint: "look at " + e.Path + " on " + e.Host + ", and mend by hand what is wrong in it; then: pgrepctl runs abandon " + env.Run().ID}
}

// ownBack writes back what a file of our own held, unless what we wrote is gone: with its
// directory, or because somebody else wrote his own since, and has the say there.
func (e *RestoreFile) ownBack(ctx context.Context, env Env, files host.Files, now host.File) error {
	if !now.Exists || string(now.Data) == e.Was {
		return nil
	}
	if sum(now.Data) != e.AfterSHA {
		env.Warn(e.Host, e.Path+" was left as it is: it is of another run by now (see pgrepctl status)")
		return nil
	}
	f := now
	f.Data = []byte(e.Was)
	if err := files.Write(ctx, f, &now); err != nil {
		return fmt.Errorf("restore %s: %w", e.Path, err)
	}
	return nil
}

// kept is what an edit can be taken back by: the bytes before, nil when they are
// not there, their hash, and the hashes of what was written.
type kept struct {
	image  []byte
	before string
	after  []string
}

func (e *RestoreFile) kept(ctx context.Context, files host.Files) (kept, error) {
	k := kept{before: e.BeforeSHA, after: []string{e.AfterSHA}}
	old, err := files.Read(ctx, e.Image)
	if err != nil {
		return k, fmt.Errorf("read %s: %w", e.Image, err)
	}
	if old.Exists {
		k.image = append([]byte{}, old.Data...)
	}
	if e.Sensitive {
		k.before = sum(old.Data)
		k.after, err = readSums(ctx, files, e.Image)
	}
	return k, err
}

// DropImage removes the bytes kept from before, once an undo is complete, and
// the run's directory with the last of them.
func (e *RestoreFile) DropImage(ctx context.Context, env Env) error {
	if e.Image == "" {
		return nil
	}
	names := []string{e.Image}
	if e.Sensitive {
		names = append(names, e.Image+sumsSuffix)
	}
	return dropKept(ctx, env, e.Host, e.As, names, path.Dir(e.Image), path.Dir(path.Dir(e.Image)))
}

// dropKept removes what was kept on a host, and then directories, if they are empty.
func dropKept(ctx context.Context, env Env, host, as string, names []string, dirs ...string) error {
	h, err := env.Host(ctx, host)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := sweep(ctx, h.Files(as), name); err != nil {
			return err
		}
		if err := h.Files(as).Remove(ctx, name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	for _, dir := range dirs {
		if _, err := (&RemoveDir{Host: host, As: as, Path: dir}).Do(ctx, env); err != nil {
			return err
		}
	}
	return nil
}

// RemoveFile removes a file, only if it still holds what was written to it.
type RemoveFile struct {
	Host  string `json:"host"`
	As    string `json:"as"`
	Path  string `json:"path"`
	IfSHA string `json:"if_sha256,omitempty"`
	// NoReturn is set when the removal is a step of its own and not the
	// undoing of one.
	NoReturn string `json:"no_return,omitempty"`
	Why      string `json:"why,omitempty"`
	What     string `json:"what,omitempty"` // shown instead of the path
	// Own: the file is no fact, see WriteFile.Inert.
	Own bool `json:"own,omitempty"`
	// Sync makes the removal durable before anything else is done.
	Sync bool `json:"sync,omitempty"`
	// Lines: only these are removed, and the file with the last line in it.
	Lines *Passfile `json:"lines,omitempty"`

	Then func(*facts.Host) `json:"-"`
}

func (e *RemoveFile) Kind() string    { return "remove-file" }
func (e *RemoveFile) On() string      { return e.Host }
func (e *RemoveFile) Inverse() Effect { return nil }

// Inert: see WriteFile.
func (e *RemoveFile) Inert() bool { return e.Own }

// Known: the file is gone.
func (e *RemoveFile) Known() bool { return true }

func (e *RemoveFile) Describe() Description {
	d := Description{Verb: "remove", Subject: cmp.Or(e.What, e.Path), Detail: e.Why, NoReturn: e.NoReturn}
	if e.Lines != nil {
		d.Subject, d.Detail = "the replication password from "+e.Path, "(other lines stay)"
	}
	return d
}

func (e *RemoveFile) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.SetFile(e.As, host.File{Path: e.Path})
		then(h, e.Then)
	}
}

func (e *RemoveFile) Do(ctx context.Context, env Env) (Output, error) {
	if e.Lines != nil {
		return (&RemovePassfile{Passfile: *e.Lines}).Do(ctx, env)
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if err := sweep(ctx, files, e.Path); err != nil {
		return nil, err
	}
	if e.IfSHA != "" {
		now, err := files.Read(ctx, e.Path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Path, err)
		}
		if !now.Exists {
			return nil, nil
		}
		if sum(now.Data) != e.IfSHA {
			return nil, fault.Refuse(e.Host, "look at the file, and remove it by hand if it is not needed",
				fmt.Errorf("remove %s: somebody else changed it after the run", e.Path))
		}
	}
	if err := files.Remove(ctx, e.Path); err != nil {
		return nil, fmt.Errorf("remove %s: %w", e.Path, err)
	}
	if _, err := files.Stat(ctx, path.Dir(e.Path)); e.Sync && err == nil {
		return nil, syncPath(ctx, h, e.As, path.Dir(e.Path))
	}
	return nil, nil
}
