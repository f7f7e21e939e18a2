package effect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// HealthFile makes or removes a file on a standby that a balancer's check looks for:
// its presence keeps reads away. What it says is for people, and tells whose it is.
type HealthFile struct {
	Host string `json:"host"`
	As   string `json:"as"`
	Path string `json:"path"`
	Text string `json:"text"`
	// Serve: it shall not be there.
	Serve bool `json:"serve"`
	// Back: it takes back what the same run has done, and is not undone.
	Back bool `json:"-"`
	// Asked: an operator wants it so, whoever has made the file. Else one that says something
	// else than Text is left alone: it is somebody else's.
	Asked bool `json:"-"`
	// After is as in Balance.
	After *Replaying `json:"after,omitempty"`
	// Others, of a drain: the other standbys that serve, each with the OS user that reads
	// its file, and Least how many of them must serve still when it is done. They are
	// looked at just before, as in Balance. 0 does not look.
	Others map[string]string `json:"-"`
	Least  int               `json:"-"`
}

func (e *HealthFile) Kind() string { return "health-file" }
func (e *HealthFile) On() string   { return e.Host }

func (e *HealthFile) Inverse() Effect {
	if e.Back {
		return nil
	}
	back := *e
	back.Serve, back.Asked, back.Others, back.Least = !e.Serve, false, nil, 0
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
	if err := e.othersServe(ctx, env); err != nil {
		return nil, untouched{err}
	}
	files := h.Files(e.As)
	if !e.Asked {
		others, err := e.isOthers(ctx, files)
		if err != nil {
			return nil, untouched{fmt.Errorf("%s: look at it: %w", e.Path, err)}
		}
		if others {
			env.Warn(e.Host, e.Path+" does not say what this run expects: somebody else has made it, and it stays, so that reads are kept away; to let them in: pgrepctl traffic restore "+e.Host)
			return nil, nil
		}
	}
	if e.Serve {
		err = files.Remove(ctx, e.Path)
	} else {
		err = e.make(ctx, files)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, err)
	}
	// Of a try that was cut off. Reads do not wait for it: who may make the file there need
	// not be allowed to list what is beside it.
	_ = sweepNames(ctx, files, path.Dir(e.Path), tempPrefix(e.Path), "."+tempPrefix(e.Path))
	return nil, nil
}

// isOthers reports whether what is there was made by somebody else. Ours is a plain file that
// the OS user of the database can read, and says what the run has written. Anything but a file
// is not removed; where one is to be made, make says what is wrong with it.
func (e *HealthFile) isOthers(ctx context.Context, files host.Files) (bool, error) {
	is, err := files.Stat(ctx, e.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !is.Mode.IsRegular():
		return e.Serve, nil
	}
	f, err := files.ReadSome(ctx, e.Path, int64(len(e.Text))+1)
	if errors.Is(err, fs.ErrPermission) {
		return true, nil
	}
	return f.Exists && string(f.Data) != e.Text, err
}

// make gives the file its name by a rename, which puts it there and not where a symlink
// leads: others may write in its directory, /tmp for one, and the OS user of the database
// would write for them over a file of its own. For the same reason nobody can tell before
// under which name it is written first.
func (e *HealthFile) make(ctx context.Context, files host.Files) error {
	is, err := files.Stat(ctx, e.Path)
	if err == nil && is.Mode&fs.ModeSymlink != 0 {
		return fault.Refuse(e.Host, "find out who has made it (ls -l "+e.Path+"), and remove it; or name a file in a directory that nobody else may write to in the inventory; then type the same command again",
			untouched{errors.New("it is a symbolic link, and would be followed to a file that may be of somebody else; reads were not kept away")})
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at it: %w", err)
	}
	f := e.file()
	f.Path = path.Join(path.Dir(e.Path), tempPrefix(e.Path)+rand.Text())
	if err := files.Write(ctx, f, nil); err != nil {
		return err
	}
	err = files.Rename(ctx, f.Path, e.Path)
	if err == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if left, lerr := host.Exists(ctx, files, f.Path); lerr == nil && !left {
		return nil // only the fsync of a directory that cannot be read: no step counts on it
	}
	return errors.Join(err, files.Remove(ctx, f.Path))
}

// othersServe refuses a drain that would leave too few standbys to read from.
func (e *HealthFile) othersServe(ctx context.Context, env Env) error {
	if e.Least == 0 {
		return nil
	}
	n := e.serving(ctx, env, e.Least)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case n < e.Least:
		return fault.Refuse(e.Host, "see who serves: pgrepctl traffic show",
			fmt.Errorf("without it %d standbys would serve by now, for the others have %s, or do not answer, and at least %d must: reads would fail", n, e.Path, e.Least))
	}
	return nil
}

// answerTime is for one that serves: who is slower than that would keep readers waiting.
const answerTime = 5 * time.Second

// serving counts the others that serve, up to enough.
func (e *HealthFile) serving(ctx context.Context, env Env, enough int) int {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(e.Others)) {
		if n < enough && e.serves(ctx, env, name) {
			n++
		}
	}
	return n
}

// serves reports whether another standby has no file, and its server answers: one that is
// down has none either, and what a drain was planned from may be old. One that cannot be
// asked does not serve.
func (e *HealthFile) serves(ctx context.Context, env Env, name string) bool {
	asking, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	h, err := env.Host(asking, name)
	if err != nil {
		return false
	}
	f, err := h.Files(e.Others[name]).Read(asking, e.Path)
	return err == nil && !f.Exists && replies(asking, env, name)
}

// replies asks a server. That a session was lost says only that the server was stopped
// since, or started anew: it is asked once more, in a new one.
func replies(ctx context.Context, env Env, name string) bool {
	for range 2 {
		s, err := env.SQL(ctx, name)
		if err != nil {
			return false
		}
		if err := s.Exec(ctx, "select 1"); err == nil {
			return true
		}
		if !host.Lost(s) {
			return false
		}
	}
	return false
}

// AwaitCheck gives a balancer time to see that a health file was made, or removed. There
// is nobody to ask: its check looks every few seconds, and believes only what it has seen
// some times.
type AwaitCheck struct {
	Host  string        `json:"host"` // the standby
	Path  string        `json:"path"`
	For   time.Duration `json:"for"`
	Serve bool          `json:"serve"` // it was removed
}

func (e *AwaitCheck) Kind() string    { return "await-check" }
func (e *AwaitCheck) On() string      { return e.Host }
func (e *AwaitCheck) Inverse() Effect { return nil }
func (e *AwaitCheck) Predict(World)   {}

// Interruptible: waiting changes nothing.
func (e *AwaitCheck) Interruptible() bool { return true }

// Inert: no step asks for anything that it changes.
func (e *AwaitCheck) Inert() bool { return true }

func (e *AwaitCheck) Describe() Description {
	d := Description{Verb: "wait", Subject: fmt.Sprintf("%s until the balancer's check has seen %s", e.For, e.Path)}
	if e.Serve {
		d.Subject = fmt.Sprintf("%s until the balancer's check has seen that %s is gone", e.For, e.Path)
	}
	return d
}

func (e *AwaitCheck) Do(ctx context.Context, _ Env) (Output, error) { return nil, sleep(ctx, e.For) }
