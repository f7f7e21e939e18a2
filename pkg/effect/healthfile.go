package effect

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// HealthFile makes or removes a file on a standby that a balancer's check looks for:
// its presence keeps reads away. What it says is for people.
type HealthFile struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	Text string `json:"text"`
	// Serve: it shall not be there.
	Serve bool `json:"serve"`
	// Back: it takes back what the same run has done, and is not undone.
	Back bool `json:"-"`
	// After is as in Balance.
	After *Replaying `json:"after,omitempty"`
}

func (e *HealthFile) Kind() string { return "health-file" }
func (e *HealthFile) On() string   { return e.Host }

func (e *HealthFile) Inverse() Effect {
	if e.Back {
		return nil
	}
	back := *e
	back.Serve = !e.Serve
	return &back
}

// KeptAway names what a drain by this act is known by.
func (e *HealthFile) KeptAway() string { return "reads of " + e.Host + " by " + e.Path }

// Claim tells a run that was interrupted that the file is its own.
func (e *HealthFile) Claim() string {
	if e.Serve {
		return ""
	}
	return e.KeptAway()
}

// Releases is what reads that are let in take back.
func (e *HealthFile) Releases() string {
	if !e.Serve {
		return ""
	}
	return e.KeptAway()
}

func (e *HealthFile) file() host.File {
	return host.File{Path: e.Path, Exists: !e.Serve, Data: []byte(e.Text), Mode: 0o644, UID: -1, GID: -1}
}

func (e *HealthFile) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.SetFile(e.As, e.file())
	}
}

func (e *HealthFile) Describe() Description {
	if e.Serve {
		return Description{Verb: "let reads in", Subject: "by removing " + e.Path}
	}
	return Description{Verb: "keep reads away", Subject: "by the file " + e.Path}
}

func (e *HealthFile) Do(ctx context.Context, env Env) (Output, error) {
	if e.Serve {
		if err := e.After.wait(ctx, env); err != nil {
			return nil, err
		}
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	files := h.Files(e.As)
	if e.Serve {
		err = files.Remove(ctx, e.Path)
	} else {
		err = files.Write(ctx, e.file(), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, err)
	}
	return nil, nil
}
