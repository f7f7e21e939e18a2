package effect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

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
