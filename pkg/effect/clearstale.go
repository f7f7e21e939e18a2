package effect

import (
	"context"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ClearStale takes out of a data directory that is about to be overwritten what a copy
// leaves out, and therefore would leave behind: WAL of another history, which recovery
// would read, a label and signals of the past, slots that keep WAL.
type ClearStale struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"` // the data directory
	// Dirs are emptied, Files removed; names in Path. A directory may be a symlink.
	Dirs  []string `json:"dirs"`
	Files []string `json:"files"`
	Lost  string   `json:"-"`

	Then func(*facts.Host) `json:"-"`
}

func (e *ClearStale) Kind() string    { return "clear-stale" }
func (e *ClearStale) On() string      { return e.Host }
func (e *ClearStale) Inverse() Effect { return nil }

// Claim: from here on there is no way back, done or half done.
func (e *ClearStale) Claim() string { return "overwrite " + e.Path + " on " + e.Host }

func (e *ClearStale) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		for _, name := range e.Files {
			h.SetFile(e.As, host.File{Path: path.Join(e.Path, name)})
		}
		then(h, e.Then)
	}
}

// Known: the files are gone.
func (e *ClearStale) Known() bool { return true }

func (e *ClearStale) Describe() Description {
	return Description{Verb: "clear", Subject: "the WAL, slots and labels that " + e.Path + " has", Detail: "(they are of before; recovery would read them)", NoReturn: e.Lost}
}

func (e *ClearStale) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	empty := &EmptyDirectory{Host: e.Host, As: e.As, Path: e.Path}
	// Its supervisor may have started it between the stop and the fence.
	if err := empty.refuseServer(ctx, h, "clear"); err != nil {
		return nil, err
	}
	for _, name := range e.Dirs {
		dir := path.Join(e.Path, name)
		full, err := empty.full(ctx, h, dir)
		if err == nil && full {
			err = empty.empty(ctx, h, dir)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range e.Files {
		if err := files.Remove(ctx, path.Join(e.Path, name)); err != nil {
			return nil, fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil, nil
}
