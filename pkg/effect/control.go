package effect

import (
	"context"
	"fmt"
	"path"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// FetchControl brings pg_control, last of all files, verified by its checksum
// and under another name: until it is renamed the copy cannot start.
type FetchControl struct {
	Host     string `json:"host"`
	As       string `json:"as"`
	From     string `json:"from"`
	FromAs   string `json:"from_as"`
	Source   string `json:"source"` // the upstream's data directory
	Target   string `json:"target"`
	SystemID string `json:"system_id"`
	// Boot is that of Host, before the copy began.
	Boot string `json:"-"`
}

func (e *FetchControl) Kind() string  { return "fetch-control" }
func (e *FetchControl) On() string    { return e.Host }
func (e *FetchControl) Predict(World) {}

// Inert: no step asks for anything that it changes.
func (e *FetchControl) Inert() bool { return true }

func (e *FetchControl) Describe() Description {
	return Description{Verb: "copy", Subject: "global/pg_control", Detail: "last, under another name"}
}

func (e *FetchControl) Inverse() Effect {
	return &RemoveFile{Host: e.Host, As: e.As, Path: path.Join(e.Target, postgres.PendingControlFile)}
}

func (e *FetchControl) Do(ctx context.Context, env Env) (Output, error) {
	src, err := env.Host(ctx, e.From)
	if err != nil {
		return nil, err
	}
	dst, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	// The server rewrites this one block in place, so a reader may see it
	// torn; its CRC tells, and the next reading is whole.
	var f host.File
	for try := 0; ; try++ {
		f, err = src.Files(e.FromAs).Read(ctx, path.Join(e.Source, postgres.ControlFile))
		if err != nil {
			return nil, fmt.Errorf("read pg_control of %s: %w", e.From, err)
		}
		c, err := postgres.ParseControl(f.Data)
		if err == nil && strconv.FormatUint(c.SystemID, 10) != e.SystemID {
			return nil, fmt.Errorf("pg_control of %s: system identifier %d, expected %s", e.From, c.SystemID, e.SystemID)
		}
		if err == nil {
			break
		}
		if try == 5 {
			return nil, fmt.Errorf("pg_control of %s: %w", e.From, err)
		}
	}
	// Even a rename too early must not start it: with the pointer to its
	// checkpoint made invalid it starts beside a backup_label only.
	data, err := postgres.WithoutCheckpoint(f.Data)
	if err != nil {
		return nil, fmt.Errorf("pg_control of %s: %w", e.From, err)
	}
	w := host.File{Path: path.Join(e.Target, postgres.PendingControlFile), Data: data, Mode: 0o600, UID: -1, GID: -1}
	if err := dst.Files(e.As).Write(ctx, w, nil); err != nil {
		return nil, fmt.Errorf("write pg_control: %w", err)
	}
	// What an earlier copy of this run was is not so of this one.
	return Output{CopyBoot: e.Boot, CopySynced: ""}, nil
}
