package effect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Link makes a symlink, or leaves one that leads there already.
type Link struct {
	Host   string `json:"host"`
	As     string `json:"as"`
	Path   string `json:"path"`
	Target string `json:"target"`
	Why    string `json:"why,omitempty"`
}

func (e *Link) Kind() string  { return "link" }
func (e *Link) On() string    { return e.Host }
func (e *Link) Predict(World) {}
func (e *Link) Inert() bool   { return true } // no step asks for it
func (e *Link) Describe() Description {
	return Description{Verb: "link", Subject: e.Path, Detail: "to " + e.Target + " " + e.Why}
}

func (e *Link) Inverse() Effect {
	return &RemoveFile{Host: e.Host, As: e.As, Path: e.Path}
}

func (e *Link) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	is, err := files.Stat(ctx, e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := files.Symlink(ctx, e.Target, e.Path); err != nil {
			return nil, fmt.Errorf("link %s: %w", e.Path, err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", e.Path, err)
	}
	to := ""
	if is.Mode&fs.ModeSymlink != 0 {
		if to, err = files.ReadLink(ctx, e.Path); err != nil {
			return nil, fmt.Errorf("look at %s: %w", e.Path, err)
		}
	}
	if to != e.Target {
		return nil, fault.Refuse(e.Host, "move it away, then type the same command again", untouched{fmt.Errorf("%s exists, and is no link to %s", e.Path, e.Target)})
	}
	return nil, nil
}
