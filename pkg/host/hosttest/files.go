package hosttest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

type node struct {
	mode fs.FileMode // type and permission bits
	data []byte      // of a symlink: its target
	uid  int
}

// FS is the file tree of one host. Its zero value is not ready: use NewFS.
type FS struct {
	mu    sync.Mutex
	nodes map[string]node
	uids  map[string]int
	gate  func(change string, done bool) error
}

// NewFS returns a tree with the directories given, each with its parents, owned
// by root.
func NewFS(dirs ...string) *FS {
	f := &FS{nodes: map[string]node{"/": {mode: fs.ModeDir | 0o755}}, uids: map[string]int{"": 1000, "postgres": 26}}
	for _, d := range dirs {
		f.Dir(d, "root", 0o755)
	}
	return f
}

// OnChange is called before each change, and after it with done. An error keeps
// the change from being made, or is returned after it.
func (f *FS) OnChange(gate func(change string, done bool) error) { f.gate = gate }

func (f *FS) uid(as string) int { return f.uids[as] }

// Dir makes a directory, and its parents with it.
func (f *FS) Dir(p, as string, mode fs.FileMode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := path.Dir(p); ; d = path.Dir(d) {
		if _, ok := f.nodes[d]; ok {
			break
		}
		f.nodes[d] = node{mode: fs.ModeDir | 0o755}
	}
	f.nodes[p] = node{mode: fs.ModeDir | mode, uid: f.uid(as)}
}

// Put writes a file that is there from the start.
func (f *FS) Put(p, as string, mode fs.FileMode, data string) {
	f.Dir(path.Dir(p), as, f.dirMode(path.Dir(p)))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[p] = node{mode: mode, data: []byte(data), uid: f.uid(as)}
}

func (f *FS) dirMode(p string) fs.FileMode {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, ok := f.nodes[p]; ok {
		return n.mode.Perm()
	}
	return 0o755
}

// Get returns a file's bytes and whether there is such a file.
func (f *FS) Get(p string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[p]
	return string(n.data), ok && n.mode.IsRegular()
}

// Has reports whether there is anything of that name.
func (f *FS) Has(p string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.nodes[p]
	return ok
}

// Delete takes a file, or an empty directory, away.
func (f *FS) Delete(p string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, p)
}

// Walk calls visit for everything below dir, parents first, in name order.
func (f *FS) Walk(dir string, visit func(p string, dir bool, data string)) {
	f.mu.Lock()
	var names []string
	for p := range f.nodes {
		if strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/") {
			names = append(names, p)
		}
	}
	slices.Sort(names)
	nodes := make([]node, len(names))
	for i, p := range names {
		nodes[i] = f.nodes[p]
	}
	f.mu.Unlock()
	for i, p := range names {
		visit(p, nodes[i].mode.IsDir(), string(nodes[i].data))
	}
}

// Dump is everything below dir: one line a name, with type, mode, owner and
// bytes, so that two trees are equal if and only if their dumps are.
func (f *FS) Dump(dir string) string {
	var b strings.Builder
	f.Walk(dir, func(p string, _ bool, _ string) {
		f.mu.Lock()
		n := f.nodes[p]
		f.mu.Unlock()
		fmt.Fprintf(&b, "%s %v %d %q\n", p, n.mode, n.uid, n.data)
	})
	return b.String()
}

// Files acts as OS user as.
func (f *FS) Files(as string) host.Files { return files{f, as} }

type files struct {
	*FS
	as string
}

func (f files) resolve(p string) (string, error) {
	if !path.IsAbs(p) {
		return "", fmt.Errorf("%s: not an absolute path", p)
	}
	for range 10 {
		n, ok := f.nodes[p]
		if !ok || n.mode&fs.ModeSymlink == 0 {
			return p, nil
		}
		to := string(n.data)
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(p), to)
		}
		p = to
	}
	return "", fmt.Errorf("%s: too many levels of symbolic links", p)
}

func (f files) Read(ctx context.Context, p string) (host.File, error) {
	return f.ReadSome(ctx, p, -1)
}

func (f files) ReadSome(ctx context.Context, p string, limit int64) (host.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return host.File{}, err
	}
	at, err := f.resolve(p)
	if err != nil {
		return host.File{}, err
	}
	n, ok := f.nodes[at]
	if !ok {
		return host.File{Path: p}, nil
	}
	if !n.mode.IsRegular() {
		return host.File{}, fmt.Errorf("%s: not a regular file", p)
	}
	data := bytes.Clone(n.data)
	if limit >= 0 && int64(len(data)) > limit {
		data = data[:limit]
	}
	return host.File{Path: p, Exists: true, Data: data, Mode: n.mode.Perm(), UID: n.uid, GID: n.uid}, nil
}

func (f files) Stat(_ context.Context, p string) (host.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[p]
	if !ok {
		return host.Entry{}, fmt.Errorf("stat %s: %w", p, fs.ErrNotExist)
	}
	return host.Entry{Name: path.Base(p), Mode: n.mode, Size: int64(len(n.data)), UID: n.uid}, nil
}

func (f files) List(_ context.Context, dir string) ([]host.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n, ok := f.nodes[dir]; !ok || !n.mode.IsDir() {
		return nil, fmt.Errorf("list %s: %w", dir, fs.ErrNotExist)
	}
	var out []host.Entry
	for p, n := range f.nodes {
		if p != "/" && path.Dir(p) == dir {
			out = append(out, host.Entry{Name: path.Base(p), Mode: n.mode, Size: int64(len(n.data)), UID: n.uid})
		}
	}
	slices.SortFunc(out, func(a, b host.Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (f files) ReadLink(_ context.Context, p string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[p]
	if !ok {
		return "", fmt.Errorf("readlink %s: %w", p, fs.ErrNotExist)
	}
	return string(n.data), nil
}

// change runs a change between two calls of the gate.
func (f files) change(ctx context.Context, name string, act func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.gate != nil {
		if err := f.gate(name, false); err != nil {
			return err
		}
	}
	f.mu.Lock()
	err := act()
	f.mu.Unlock()
	if err != nil || f.gate == nil {
		return err
	}
	return f.gate(name, true)
}

func (f files) inDir(p string) error {
	if n, ok := f.nodes[path.Dir(p)]; !ok || !n.mode.IsDir() {
		return fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	return nil
}

func (f files) Write(ctx context.Context, w host.File, ifWas *host.File) error {
	return f.change(ctx, "write "+w.Path, func() error {
		p, err := f.resolve(w.Path)
		if err != nil {
			return err
		}
		if err := f.inDir(p); err != nil {
			return err
		}
		n, exists := f.nodes[p]
		if exists && n.mode.IsDir() {
			return fmt.Errorf("write %s: is a directory", p)
		}
		if ifWas != nil && (exists != ifWas.Exists || exists && !bytes.Equal(n.data, ifWas.Data)) {
			return fmt.Errorf("write %s: %w", p, host.ErrChanged)
		}
		uid := w.UID
		if uid < 0 {
			uid = f.uid(f.as)
		}
		f.nodes[p] = node{mode: w.Mode.Perm(), data: bytes.Clone(w.Data), uid: uid}
		return nil
	})
}

func (f files) Remove(ctx context.Context, p string) error {
	return f.change(ctx, "remove "+p, func() error {
		for other := range f.nodes {
			if other != "/" && path.Dir(other) == p {
				return fmt.Errorf("remove %s: directory not empty", p)
			}
		}
		delete(f.nodes, p)
		return nil
	})
}

func (f files) Mkdir(ctx context.Context, p string, mode fs.FileMode) error {
	return f.change(ctx, "mkdir "+p, func() error {
		if err := f.inDir(p); err != nil {
			return err
		}
		if n, ok := f.nodes[p]; ok {
			if !n.mode.IsDir() {
				return fmt.Errorf("mkdir %s: %w", p, fs.ErrExist)
			}
			return nil
		}
		f.nodes[p] = node{mode: fs.ModeDir | mode.Perm(), uid: f.uid(f.as)}
		return nil
	})
}

func (f files) Chmod(ctx context.Context, p string, mode fs.FileMode) error {
	return f.change(ctx, "chmod "+p, func() error {
		n, ok := f.nodes[p]
		if !ok {
			return fmt.Errorf("chmod %s: %w", p, fs.ErrNotExist)
		}
		n.mode = n.mode.Type() | mode.Perm()
		f.nodes[p] = n
		return nil
	})
}

func (f files) Symlink(ctx context.Context, target, p string) error {
	return f.change(ctx, "symlink "+p, func() error {
		if _, ok := f.nodes[p]; ok {
			return fmt.Errorf("symlink %s: %w", p, fs.ErrExist)
		}
		if err := f.inDir(p); err != nil {
			return err
		}
		f.nodes[p] = node{mode: fs.ModeSymlink | 0o777, data: []byte(target), uid: f.uid(f.as)}
		return nil
	})
}

func (f files) Rename(ctx context.Context, from, to string) error {
	return f.change(ctx, "rename "+from, func() error {
		n, ok := f.nodes[from]
		if !ok {
			return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
		}
		if err := f.inDir(to); err != nil {
			return err
		}
		if old, ok := f.nodes[to]; ok && n.mode.IsDir() != old.mode.IsDir() {
			return fmt.Errorf("rename %s: %s is of another kind", from, to)
		}
		if n.mode.IsDir() {
			for p := range f.nodes {
				if strings.HasPrefix(p, to+"/") {
					return fmt.Errorf("rename %s: %s is not empty", from, to)
				}
			}
			for p, x := range f.nodes {
				if rest, below := strings.CutPrefix(p, from+"/"); below {
					delete(f.nodes, p)
					f.nodes[to+"/"+rest] = x
				}
			}
		}
		delete(f.nodes, from)
		f.nodes[to] = n
		return nil
	})
}
