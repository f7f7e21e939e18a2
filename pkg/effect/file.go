package effect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// WriteFile replaces a file, or makes it. It refuses when the file is no longer
// what the plan was made from. The bytes before are kept on the host, in Image,
// because they may hold passwords; the journal has only their hash, and not
// even that of a file that is known to hold one.
type WriteFile struct {
	Host   string      `json:"host"`
	As     string      `json:"as"` // empty: login user
	Path   string      `json:"path"`
	Before host.File   `json:"-"`
	Data   []byte      `json:"-"`
	Mode   fs.FileMode `json:"mode"` // of a new file; an existing one keeps its own
	// Image is where the bytes before are kept. Unless they are secret, their
	// hash is added to the name: a run may edit one file twice, and needs both
	// to go back.
	Image string `json:"image"`
	// Judge, if set, asks the server about the file before anybody else can
	// be hurt by it; a bad verdict puts the old bytes back.
	Judge *Judge `json:"-"`
	// SetMode: an existing file gets Mode too. libpq takes no passfile that
	// others can read.
	SetMode bool `json:"-"`
	// Own: the file is this tool's alone. It is replaced whatever it holds,
	// and undoing removes it.
	Own bool `json:"own,omitempty"`
	// Was is what a file of our own held, of an earlier run above all, and holds no
	// secret: undoing writes it back.
	Was string `json:"-"`
	// Sensitive: no diff is shown, and no hash leaves the host. The hash of one in which
	// something looks like a secret does not leave it either.
	Sensitive bool `json:"sensitive"`
	// Lines: the file is not this tool's alone, and these are its lines in it. Undoing
	// its making takes them out, and leaves what others have added.
	Lines *Passfile `json:"-"`
	// ReloadBack: once the old bytes are restored, the server reads them at once.
	ReloadBack bool `json:"-"`
	// What is the subject shown, default the path.
	What string `json:"what"`
	// Why goes into the detail.
	Why string `json:"why"`
	// Then is what else it makes true, for a preview.
	Then func(*facts.Host) `json:"-"`
}

func (e *WriteFile) Kind() string { return "write-file" }
func (e *WriteFile) On() string   { return e.Host }

// Inert: a file of our own that stands for nothing but itself, such as the key
// of a copy, is no fact.
func (e *WriteFile) Inert() bool { return e.Own && e.Then == nil }

// Known: the file holds what was just written.
func (e *WriteFile) Known() bool { return true }

func (e *WriteFile) Describe() Description {
	d := Description{Verb: "create", Subject: e.Path, Detail: e.Why}
	if e.What != "" {
		d.Subject = e.What
	}
	if e.Before.Exists {
		d.Verb = "edit"
	}
	if !e.Sensitive {
		// Beside the line that is edited there may be one with a password.
		d.Diff = udiff.Unified(e.Path, e.Path, string(facts.MaskSecrets(e.Before.Data)), string(facts.MaskSecrets(e.Data)))
	}
	return d
}

// secret reports whether a hash of the file could give a secret away.
func (e *WriteFile) secret() bool {
	return e.Sensitive || facts.HoldsSecret(e.Before.Data) || facts.HoldsSecret(e.Data)
}

// editedAs begins the key of a note: that a run was about to change a file of which the
// journal has no hash, and where the bytes from before are.
const editedAs = "edited:"

func editedKey(host, p string) string { return editedAs + host + ":" + p }

func (e *WriteFile) Do(ctx context.Context, env Env) (Output, error) {
	if e.Before.Exists && !e.Own && e.Image == "" {
		// Its inverse is in the journal already, and could never be run.
		return nil, untouched{fmt.Errorf("write %s: nothing says where the bytes from before are kept, so it could not be taken back", e.Path)}
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if err := sweep(ctx, files, e.Path); err != nil {
		return nil, err
	}
	f := host.File{Path: e.Path, Exists: true, Data: e.Data, Mode: e.Mode, UID: -1, GID: -1}
	if e.Before.Exists && !e.Own {
		f.Mode, f.UID, f.GID = e.Before.Mode, e.Before.UID, e.Before.GID
		if err := e.keepImage(ctx, files); err != nil {
			return nil, err
		}
		if e.secret() {
			// Should somebody take the image away, an undo could not tell this from an
			// edit that never began.
			if err := env.Note(ctx, Output{editedKey(e.Host, e.Path): e.Image}); err != nil {
				return nil, err
			}
		}
	}
	if e.SetMode {
		f.Mode = e.Mode
	}
	ifWas := &e.Before
	if e.Own {
		ifWas = nil
	}
	if err := files.Write(ctx, f, ifWas); err != nil {
		if errors.Is(err, host.ErrChanged) {
			return nil, &fault.Error{Class: fault.Refused, Host: e.Host, Op: "write " + e.Path, Err: untouched{err},
				State: "the file was left as the other editor made it", Hint: "run the same command again: it plans from the file as it is now"}
		}
		return nil, fmt.Errorf("write %s: %w", e.Path, err)
	}
	if e.Judge == nil {
		return nil, nil
	}
	verdict := e.Judge.check(ctx, env, e.Host)
	if verdict == nil {
		return nil, nil
	}
	if err := e.putBack(context.WithoutCancel(ctx), files, f); err != nil {
		return nil, errors.Join(verdict, err)
	}
	return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "edit " + e.Path, Err: verdict,
		State: "the file was put back byte for byte; nothing was reloaded"}
}

func (e *WriteFile) putBack(ctx context.Context, files host.Files, now host.File) error {
	if !e.Before.Exists {
		return files.Remove(ctx, e.Path)
	}
	old := now
	old.Data, old.Mode = e.Before.Data, e.Before.Mode
	if err := files.Write(ctx, old, &now); err != nil {
		return fmt.Errorf("put back %s (its bytes are in %s): %w", e.Path, e.image(), err)
	}
	return nil
}

func (e *WriteFile) Inverse() Effect {
	if e.Own && e.Was != "" {
		return &RestoreFile{Host: e.Host, As: e.As, Path: e.Path, Was: e.Was, AfterSHA: sum(e.Data)}
	}
	if e.Own {
		return &RemoveFile{Host: e.Host, As: e.As, Path: e.Path, What: e.What, Own: e.Inert()}
	}
	if e.Before.Exists {
		inv := &RestoreFile{Host: e.Host, As: e.As, Path: e.Path, Image: e.image(), Mode: e.Before.Mode, Sensitive: e.secret(), Reload: e.ReloadBack}
		if !inv.Sensitive {
			inv.BeforeSHA, inv.AfterSHA = sum(e.Before.Data), sum(e.Data)
		}
		return inv
	}
	inv := &RemoveFile{Host: e.Host, As: e.As, Path: e.Path, What: e.What, Lines: e.Lines}
	if !e.secret() { // a hash of a short secret could be guessed from the journal
		inv.IfSHA = sum(e.Data)
	}
	return inv
}

func (e *WriteFile) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		mode := e.Mode
		if e.Before.Exists && !e.SetMode {
			mode = e.Before.Mode
		}
		h.SetFile(e.As, host.File{Path: e.Path, Exists: true, Data: e.Data, Mode: mode, UID: e.Before.UID, GID: e.Before.GID})
		then(h, e.Then)
	}
}

func then(h *facts.Host, f func(*facts.Host)) {
	if f != nil {
		f(h)
	}
}

// sweep removes what a writing of p that was cut off has left beside it
// (host.Files.Write): when the tool is killed nobody else will. Of a symlink that is
// beside its target.
func sweep(ctx context.Context, files host.Files, p string) error {
	target, err := host.FollowLinks(p, func(name string) (fs.FileMode, error) {
		is, err := files.Stat(ctx, name)
		return is.Mode, err
	}, func(name string) (string, error) { return files.ReadLink(ctx, name) })
	if err != nil {
		return fmt.Errorf("find out where %s is: %w", p, err)
	}
	return sweepNames(ctx, files, path.Dir(target), tempPrefix(target))
}

func tempPrefix(p string) string { return "." + path.Base(p) + ".pgrepctl-" }

// sweepNames removes the files of a directory whose names begin with one of prefixes.
func sweepNames(ctx context.Context, files host.Files, dir string, prefixes ...string) error {
	entries, err := files.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, e := range entries {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(e.Name, prefix) }) {
			if err := files.Remove(ctx, path.Join(dir, e.Name)); err != nil {
				return fmt.Errorf("remove %s: %w", e.Name, err)
			}
		}
	}
	return nil
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
