package effect

import (
	"bytes"
	"cmp"
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
// because they may hold passwords; the journal has only their hash.
type WriteFile struct {
	Host   string      `json:"host"`
	As     string      `json:"as"` // empty: login user
	Path   string      `json:"path"`
	Before host.File   `json:"-"`
	Data   []byte      `json:"-"`
	Mode   fs.FileMode `json:"mode"` // of a new file; an existing one keeps its own
	// Image is where the bytes before are kept. Their hash is added to the
	// name: a run may edit one file twice, and needs both to go back.
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
	// Sensitive: no diff is shown.
	Sensitive bool `json:"sensitive"`
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

func (e *WriteFile) Describe() Description {
	d := Description{Verb: "create", Subject: e.Path, Detail: e.Why}
	if e.What != "" {
		d.Subject = e.What
	}
	if e.Before.Exists {
		d.Verb = "edit"
	}
	if !e.Sensitive {
		d.Diff = udiff.Unified(e.Path, e.Path, string(e.Before.Data), string(e.Data))
	}
	return d
}

func (e *WriteFile) Do(ctx context.Context, env Env) (Output, error) {
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
		if err := keepImage(ctx, files, e.image(), e.Before.Data); err != nil {
			return nil, err
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
	if e.Own {
		return &RemoveFile{Host: e.Host, As: e.As, Path: e.Path, What: e.What, Own: e.Inert()}
	}
	if e.Before.Exists {
		return &RestoreFile{Host: e.Host, As: e.As, Path: e.Path, Image: e.image(),
			BeforeSHA: sum(e.Before.Data), AfterSHA: sum(e.Data), Mode: e.Before.Mode}
	}
	return &RemoveFile{Host: e.Host, As: e.As, Path: e.Path, IfSHA: sum(e.Data), What: e.What}
}

func (e *WriteFile) image() string {
	if e.Image == "" {
		return ""
	}
	return e.Image + "." + sum(e.Before.Data)[:8]
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
// (host.Files.Write): when the tool is killed nobody else will.
func sweep(ctx context.Context, files host.Files, p string) error {
	entries, err := files.List(ctx, path.Dir(p))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", path.Dir(p), err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name, "."+path.Base(p)+".pgrepctl-") {
			if err := files.Remove(ctx, path.Join(path.Dir(p), e.Name)); err != nil {
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

// keepImage stores the bytes before an edit in a 0600 file below a 0700
// directory of the same OS user.
func keepImage(ctx context.Context, files host.Files, image string, data []byte) error {
	if image == "" {
		return nil
	}
	for _, dir := range []string{path.Dir(path.Dir(image)), path.Dir(image)} {
		if err := files.Mkdir(ctx, dir, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	f := host.File{Path: image, Data: data, Mode: 0o600, UID: -1, GID: -1}
	if err := files.Write(ctx, f, nil); err != nil {
		return fmt.Errorf("keep the old bytes in %s: %w", image, err)
	}
	return nil
}

// RestoreFile is the inverse of an edit.
type RestoreFile struct {
	Host      string `json:"host"`
	As        string `json:"as"`
	Path      string `json:"path"`
	Image     string `json:"image"`
	BeforeSHA string `json:"before_sha256"`
	AfterSHA  string `json:"after_sha256"`
	// Mode is that of the file before.
	Mode fs.FileMode `json:"mode"`
}

func (e *RestoreFile) Kind() string    { return "restore-file" }
func (e *RestoreFile) On() string      { return e.Host }
func (e *RestoreFile) Inverse() Effect { return nil }
func (e *RestoreFile) Predict(World)   {}
func (e *RestoreFile) Describe() Description {
	return Description{Verb: "restore", Subject: e.Path, Detail: "as it was before the run"}
}

func (e *RestoreFile) Do(ctx context.Context, env Env) (Output, error) {
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
	if sum(now.Data) == e.BeforeSHA && now.Exists && (e.Mode == 0 || e.Mode == now.Mode) {
		return nil, nil
	}
	if have := sum(now.Data); !now.Exists || have != e.AfterSHA && have != e.BeforeSHA {
		return nil, fault.Refuse(e.Host, "compare it with "+e.Image+", which holds the bytes from before the run, and restore by hand what is missing",
			fmt.Errorf("restore %s: somebody else changed it after the run", e.Path))
	}
	old, err := files.Read(ctx, e.Image)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", e.Image, err)
	}
	if !old.Exists || sum(old.Data) != e.BeforeSHA {
		return nil, fmt.Errorf("restore %s: %s is missing or damaged", e.Path, e.Image)
	}
	f := now
	f.Data = old.Data
	if e.Mode != 0 {
		f.Mode = e.Mode
	}
	if err := files.Write(ctx, f, &now); err != nil {
		return nil, fmt.Errorf("restore %s: %w", e.Path, err)
	}
	return nil, nil
}

// DropImage removes the bytes kept from before, once an undo is complete, and
// the run's directory with the last of them.
func (e *RestoreFile) DropImage(ctx context.Context, env Env) error {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return err
	}
	files := h.Files(e.As)
	if err := files.Remove(ctx, e.Image); err != nil {
		return fmt.Errorf("remove %s: %w", e.Image, err)
	}
	for _, dir := range []string{path.Dir(e.Image), path.Dir(path.Dir(e.Image))} {
		if _, err := (&RemoveDir{Host: e.Host, As: e.As, Path: dir}).Do(ctx, env); err != nil {
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

	Then func(*facts.Host) `json:"-"`
}

func (e *RemoveFile) Kind() string    { return "remove-file" }
func (e *RemoveFile) On() string      { return e.Host }
func (e *RemoveFile) Inverse() Effect { return nil }

// Inert: see WriteFile.
func (e *RemoveFile) Inert() bool { return e.Own }

func (e *RemoveFile) Describe() Description {
	return Description{Verb: "remove", Subject: cmp.Or(e.What, e.Path), Detail: e.Why, NoReturn: e.NoReturn}
}

func (e *RemoveFile) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.SetFile(e.As, host.File{Path: e.Path})
		then(h, e.Then)
	}
}

func (e *RemoveFile) Do(ctx context.Context, env Env) (Output, error) {
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
	return nil, nil
}

// MakeDir makes one directory.
type MakeDir struct {
	Host string      `json:"host"`
	As   string      `json:"as"`
	Path string      `json:"path"`
	Mode fs.FileMode `json:"mode"`
	Why  string      `json:"why,omitempty"`
	What string      `json:"what,omitempty"`

	Then func(*facts.Host) `json:"-"`
	// Own: the directory is no fact, see WriteFile.Inert.
	Own bool `json:"own,omitempty"`
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
	return nil, nil
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

	Then func(*facts.Host) `json:"-"`
}

func (e *Rename) Kind() string { return "rename" }
func (e *Rename) On() string   { return e.Host }
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
			return nil, nil // done already, or never done
		}
	}
	if err := files.Rename(ctx, e.From, e.To); err != nil {
		return nil, fmt.Errorf("rename %s: %w", e.From, err)
	}
	return nil, syncPath(ctx, h, e.As, path.Dir(e.To))
}

// syncPath fsyncs a file or directory: SFTP cannot do it for a directory.
func syncPath(ctx context.Context, r host.Runner, as, p string) error {
	if err := r.Run(ctx, host.Cmd{Argv: []string{"sync", p}, As: as}, host.Stdio{}); err != nil {
		return fmt.Errorf("fsync %s: %w", p, err)
	}
	return nil
}

// AddLine appends one line to a file that others edit too, authorized_keys
// above all; its inverse removes that line and no other.
type AddLine struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	Line string `json:"-"`
	// Mark is the last word of our line, and in no other line.
	Mark string      `json:"mark"`
	Mode fs.FileMode `json:"mode"` // of a new file
	What string      `json:"what"`
}

func (e *AddLine) Kind() string  { return "add-line" }
func (e *AddLine) On() string    { return e.Host }
func (e *AddLine) Predict(World) {}

// Inert: no step asks for anything that it changes.
func (e *AddLine) Inert() bool { return true }

func (e *AddLine) Describe() Description {
	return Description{Verb: "add", Subject: e.What, Detail: "to " + e.Path}
}

func (e *AddLine) Inverse() Effect {
	return &RemoveLine{Host: e.Host, As: e.As, Path: e.Path, Mark: e.Mark, What: e.What}
}

// What the file was like before our line came is known only when it is written,
// and the inverse is journalled before that. So the line says it itself, in a
// word behind the mark.
const (
	madeFile    = "new-file"
	madeNewline = "no-newline-before"
)

func (e *AddLine) Do(ctx context.Context, env Env) (Output, error) {
	return nil, editLines(ctx, env, e.Host, e.As, e.Path, e.Mode, func(now host.File) ([]byte, bool) {
		data, line := bytes.Clone(now.Data), e.Line
		switch {
		case !now.Exists:
			line += " " + madeFile
		case len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")):
			data, line = append(data, '\n'), line+" "+madeNewline
		}
		return append(data, line+"\n"...), true
	})
}

// RemoveLine removes every line that holds Mark as a word.
type RemoveLine struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	Mark string `json:"mark"`
	What string `json:"what"`
}

func (e *RemoveLine) Kind() string    { return "remove-line" }
func (e *RemoveLine) On() string      { return e.Host }
func (e *RemoveLine) Inverse() Effect { return nil }
func (e *RemoveLine) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *RemoveLine) Inert() bool { return true }

func (e *RemoveLine) Describe() Description {
	return Description{Verb: "remove", Subject: e.What, Detail: "from " + e.Path}
}

func (e *RemoveLine) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if err := sweep(ctx, h.Files(e.As), e.Path); err != nil {
		return nil, err
	}
	return nil, editLines(ctx, env, e.Host, e.As, e.Path, 0, func(now host.File) ([]byte, bool) {
		var keep []byte
		made := false
		for line := range bytes.Lines(now.Data) {
			words := strings.Fields(string(line))
			i := slices.Index(words, e.Mark)
			if i < 0 {
				keep = append(keep, line...)
				continue
			}
			made = made || slices.Contains(words[i:], madeFile)
			// The newline that ours needed goes with it, unless somebody
			// wrote a line behind ours.
			if slices.Contains(words[i:], madeNewline) && bytes.HasSuffix(now.Data, line) {
				keep = bytes.TrimSuffix(keep, []byte("\n"))
			}
		}
		return keep, len(keep) > 0 || !made
	})
}

// editLines is a compare-and-swap loop: somebody else may edit at the same
// moment. edit returns the new bytes, and whether the file shall exist.
func editLines(ctx context.Context, env Env, name, as, p string, mode fs.FileMode, edit func(host.File) ([]byte, bool)) error {
	h, err := env.Host(ctx, name)
	if err != nil {
		return err
	}
	files := h.Files(as)
	for try := 0; ; try++ {
		before, err := files.Read(ctx, p)
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		after, exist := edit(before)
		switch {
		case bytes.Equal(after, before.Data) && (exist == before.Exists || !before.Exists):
			return nil
		case !exist:
			err = files.Remove(ctx, p)
		default:
			f := host.File{Path: p, Exists: true, Data: after, Mode: mode, UID: -1, GID: -1}
			if before.Exists {
				f.Mode, f.UID, f.GID = before.Mode, before.UID, before.GID
			}
			err = files.Write(ctx, f, &before)
		}
		if errors.Is(err, host.ErrChanged) && try < 5 {
			continue
		}
		if err != nil {
			return fmt.Errorf("edit %s: %w", p, err)
		}
		return nil
	}
}
