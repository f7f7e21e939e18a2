package engine_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// keepJournal is what mirror.sh does, on the model's file system; the script
// itself is tested with a real shell.
func (m *machine) keepJournal(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if m.w.mirrorDead(1) {
		return errors.New("no route to host")
	}
	defer m.w.mirrorDead(-1)
	dir := c.Argv[len(c.Argv)-1]
	file := path.Join(dir, "journal.jsonl")
	files := m.fs.Files(c.As)
	in := bufio.NewReader(stdio.In)
	say := func(err error) error {
		answer := "ok\n"
		if err != nil {
			answer = err.Error() + "\nfailed\n"
		}
		_, err = io.WriteString(stdio.Out, answer)
		return err
	}
	var lines strings.Builder
	var wrote string // what the copy has, if nobody else wrote it
	for begun := false; ; {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case !begun:
			if begun = line == "exit\n"; begun {
				_, err = io.WriteString(stdio.Out, "ready\n")
			}
		case strings.HasPrefix(line, "{"):
			lines.WriteString(line)
		case line == "new\n":
			lines.Reset()
		case line == "add\n":
			lines.Reset()
			was, _ := m.fs.Get(file)
			if was != wrote {
				m.w.t.Errorf("%s: the copy of the journal is somebody else's, and is added to:\n%s", m.name, was)
			}
			lines.WriteString(was)
		case line == "end\n":
			err = errors.Join(files.Mkdir(ctx, path.Dir(dir), 0o700), files.Mkdir(ctx, dir, 0o700),
				files.Write(ctx, host.File{Path: file, Data: []byte(lines.String()), Mode: 0o600, UID: -1, GID: -1}, nil))
			wrote = lines.String()
			if unsaid := m.w.unsaidCopy; unsaid != nil {
				m.w.unsaidCopy = nil
				return unsaid
			}
			err = say(err)
		case line == "gone\n" && m.w.stuckCopy != nil:
			return m.w.stuckCopy
		case line == "gone\n":
			err = say(errors.Join(files.Remove(ctx, file), m.removeEmpty(ctx, dir), m.removeEmpty(ctx, path.Dir(dir))))
		default:
			m.w.t.Errorf("%s: the copy of the journal was sent %q", m.name, line)
		}
		if err != nil {
			return err
		}
	}
}

// mirrorDead counts a process that begins (1) or ends (-1). One that shall not live is not
// counted as running.
func (w *world) mirrorDead(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		if w.mirrors++; w.mirrorDies[w.mirrors] {
			return true
		}
	}
	w.mirroring += n
	return false
}

// awaitMirrors waits for the processes of a tool that died: one that still writes a line
// looks like another operator to the next.
func (w *world) awaitMirrors() {
	w.t.Helper()
	running := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.mirroring > 0
	}
	for end := time.Now().Add(30 * time.Second); running(); runtime.Gosched() {
		if time.Now().After(end) {
			w.t.Fatal("a process that copies a journal outlives its tool")
		}
	}
}

func (m *machine) removeEmpty(ctx context.Context, dir string) error {
	names, err := m.fs.Files("postgres").List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) || len(names) > 0 {
		return nil
	}
	return m.fs.Files("postgres").Remove(ctx, dir)
}

// runs are the copies of journals that lie on a host.
func (m *machine) runs() []facts.Run {
	var out []facts.Run
	m.fs.Walk("/var/lib/postgresql/.pgrepctl", func(p string, _ bool, data string) {
		if path.Base(p) != "journal.jsonl" {
			return
		}
		recs, _, err := journal.Parse(p, []byte(data))
		if err != nil {
			m.w.t.Error(err)
			return
		}
		r := recs[0].Run
		out = append(out, facts.Run{ID: r.ID, Cluster: r.Cluster, Plan: r.Plan, Vars: r.Vars, Operator: r.Operator, Started: recs[0].At, Path: p, Meets: r.Meets})
	})
	return out
}

// forgetRuns removes the copies of journals from a host.
func (m *machine) forgetRuns() {
	for _, r := range m.runs() {
		for p := r.Path; p != "/var/lib/postgresql"; p = path.Dir(p) {
			m.fs.Delete(p)
		}
	}
}
