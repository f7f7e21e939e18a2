package store

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func open(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAMemoryIsOneProcesssAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "shop", "check", "once.json")
	f := open(t, path)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, path); fault.ClassOf(err) != fault.Locked {
		t.Errorf("%v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// Nobody's change is lost.
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			f, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			m, err := f.Read("shop", time.Now())
			if err != nil {
				t.Error(err)
			}
			name := string(rune('a' + i))
			m.Hosts[name] = check.State{Host: name}
			m.At = time.Now()
			if err := f.Write(m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	g := open(t, path)
	defer g.Close()
	m, err := g.Read("shop", time.Now())
	if err != nil || len(m.Hosts) != 20 {
		t.Errorf("%d hosts, %v", len(m.Hosts), err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".once*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestWhatIsNoMemoryIsAnEmptyOne(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string) error{
		"rubbish":   func(p string) error { return os.WriteFile(p, []byte("\x00\xff{"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"pipe":      func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"endless":   func(p string) error { return os.Symlink("/dev/zero", p) },
	} {
		path := filepath.Join(t.TempDir(), "once.json")
		f := open(t, path)
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		m, err := f.Read("shop", time.Now())
		if err == nil || len(m.Hosts) != 0 || m.Cluster != "shop" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
