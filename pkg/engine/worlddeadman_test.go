package engine_test

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// deadMan waits, as deadman.sh does, for the end of the tool. When its bracket is
// closed in order the model leaves the removal to the inverses, so that they are
// seen to do it.
func (m *machine) deadMan(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if !c.Leash {
		m.w.t.Error("the dead-man's switch has no leash")
	}
	b, err := io.ReadAll(stdio.In)
	if err != nil {
		return err
	}
	in := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	file, dir, lines := in[0], in[1], in[2:2+slices.Index(in[2:], "")]
	m.w.mu.Lock()
	m.w.deadMen = append(m.w.deadMen, func() { m.forget(file, dir, lines) })
	m.w.mu.Unlock()
	if _, err := io.WriteString(stdio.Out, "ready\n"); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (m *machine) forget(file, dir string, lines []string) {
	if dir != "" {
		var names []string
		m.fs.Walk(dir, func(p string, _ bool, _ string) { names = append(names, p) })
		for _, p := range slices.Backward(append([]string{dir}, names...)) {
			m.fs.Delete(p)
		}
		return
	}
	was, ok := m.fs.Get(file)
	if !ok {
		return
	}
	made := false
	all := strings.SplitAfter(was, "\n")
	for _, line := range slices.Backward(slices.Clone(all)) {
		words := strings.Fields(line)
		if !slices.ContainsFunc(words, func(w string) bool { return slices.Contains(lines, w) }) {
			continue
		}
		i := slices.Index(all, line)
		all = slices.Delete(all, i, i+1)
		made = made || slices.Contains(words, "new-file")
		if slices.Contains(words, "no-newline-before") && i > 0 {
			all[i-1] = strings.TrimSuffix(all[i-1], "\n")
		}
	}
	now := strings.Join(all, "")
	if now == "" && made {
		m.fs.Delete(file)
		return
	}
	m.fs.Put(file, "", 0o600, now)
}
