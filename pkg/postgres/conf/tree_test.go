package conf

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// disk is a file system of path and text; a text of "!" cannot be read.
type disk map[string]string

func (d disk) read(p string) ([]byte, bool, error) {
	text, ok := d[p]
	if text == "!" {
		return nil, false, errors.New("permission denied")
	}
	return []byte(text), ok, nil
}

func (d disk) list(dir string) ([]string, error) {
	var names []string
	for p := range d { // unordered on purpose
		if path.Dir(p) == dir {
			names = append(names, path.Base(p))
		}
	}
	if names == nil {
		return nil, errors.New("no such directory")
	}
	return names, nil
}

func load(t *testing.T, d disk) *Tree {
	t.Helper()
	tree, err := Load("/etc/pg/postgresql.conf", d.read, d.list)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestLastValueInReadingOrderWins(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		files disk
		want  string // value path:line
	}{
		{"main only", disk{"/etc/pg/postgresql.conf": "x = 1\nx = 2\n"}, "2 /etc/pg/postgresql.conf:2"},
		{"include after", disk{"/etc/pg/postgresql.conf": "x = 1\ninclude 'a'\n", "/etc/pg/a": "x = 2\n"}, "2 /etc/pg/a:1"},
		{"include before", disk{"/etc/pg/postgresql.conf": "include 'a'\nx = 1\n", "/etc/pg/a": "x = 2\n"}, "1 /etc/pg/postgresql.conf:2"},
		{"absolute path", disk{"/etc/pg/postgresql.conf": "include '/srv/a'\n", "/srv/a": "x = 2\n"}, "2 /srv/a:1"},
		{
			"relative to the including file, not to the main one",
			disk{"/etc/pg/postgresql.conf": "include 'sub/a'\n", "/etc/pg/sub/a": "include '../b'\n", "/etc/pg/b": "x = 3\n"},
			"3 /etc/pg/b:1",
		},
		{"missing and optional", disk{"/etc/pg/postgresql.conf": "x = 1\ninclude_if_exists 'a'\n"}, "1 /etc/pg/postgresql.conf:1"},
		{
			"directory in byte order",
			disk{"/etc/pg/postgresql.conf": "include_dir 'conf.d'\n", "/etc/pg/conf.d/a.conf": "x = a\n", "/etc/pg/conf.d/B.conf": "x = b\n", "/etc/pg/conf.d/10.conf": "x = ten\n", "/etc/pg/conf.d/9.conf": "x = nine\n"},
			"a /etc/pg/conf.d/a.conf:1",
		},
		{
			"directory takes visible .conf only",
			disk{"/etc/pg/postgresql.conf": "x = 1\nINCLUDE_DIR = conf/d/\n", "/etc/pg/conf/d/.z.conf": "x = 2\n", "/etc/pg/conf/d/z.conf~": "x = 3\n", "/etc/pg/conf/d/.conf": "x = 4\n", "/etc/pg/conf/d/z.CONF": "x = 5\n"},
			"1 /etc/pg/postgresql.conf:1",
		},
		{"same file twice", disk{"/etc/pg/postgresql.conf": "include 'a'\nx = 1\ninclude 'a'\n", "/etc/pg/a": "x = 2\n"}, "2 /etc/pg/a:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			value, p, line, ok := load(t, tt.files).Get("X")
			if got := fmt.Sprintf("%s %s:%d", value, p, line); !ok || got != tt.want {
				t.Errorf("%s, not %s", got, tt.want)
			}
		})
	}
}

func TestLoadRefusesWhatStopsTheServer(t *testing.T) {
	t.Parallel()
	deep := disk{"/etc/pg/postgresql.conf": "include 'f1'\n", "/etc/pg/f10": "x = 10\n"}
	for i := 1; i < 10; i++ {
		deep[fmt.Sprintf("/etc/pg/f%d", i)] = fmt.Sprintf("include 'f%d'\n", i+1)
	}
	if v, _, _, _ := load(t, deep).Get("x"); v != "10" {
		t.Errorf("ten levels: x = %q", v)
	}
	tooDeep := disk{}
	for p, text := range deep {
		tooDeep[p] = text
	}
	tooDeep["/etc/pg/f10"] = "include 'f11'\n"
	tooDeep["/etc/pg/f11"] = ""

	tests := []struct {
		name  string
		files disk
		want  string
	}{
		{"no main file", disk{}, "read /etc/pg/postgresql.conf: no such file"},
		{"unreadable main file", disk{"/etc/pg/postgresql.conf": "!"}, "read /etc/pg/postgresql.conf: permission denied"},
		{"missing file", disk{"/etc/pg/postgresql.conf": "\ninclude 'a'\n"}, "/etc/pg/postgresql.conf:2: include 'a': read /etc/pg/a: no such file"},
		{"unreadable optional file", disk{"/etc/pg/postgresql.conf": "include_if_exists 'a'\n", "/etc/pg/a": "!"}, "read /etc/pg/a: permission denied"},
		{"missing directory", disk{"/etc/pg/postgresql.conf": "include_dir 'a'\n"}, "list /etc/pg/a: no such directory"},
		{"blank path", disk{"/etc/pg/postgresql.conf": "include ' '\n"}, "empty file name"},
		{"blank directory", disk{"/etc/pg/postgresql.conf": "include_dir ''\n"}, "empty file name"},
		{"itself", disk{"/etc/pg/postgresql.conf": "include './postgresql.conf'\n"}, "/etc/pg/postgresql.conf includes itself"},
		{"a loop", disk{"/etc/pg/postgresql.conf": "include 'a'\n", "/etc/pg/a": "include 'postgresql.conf'\n"}, "/etc/pg/a:1: include 'postgresql.conf': /etc/pg/postgresql.conf includes itself"},
		{"too deep", tooDeep, "/etc/pg/f10:1: include 'f11': /etc/pg/f11: more than 10 levels of inclusion"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := Load("/etc/pg/postgresql.conf", tt.files.read, tt.files.list)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) || strings.Count(err.Error(), ": include") > 1 {
				t.Errorf("%v, not %s", err, tt.want)
			}
		})
	}
}

func TestTreeSetEditsTheFileThatCounts(t *testing.T) {
	t.Parallel()
	const main, extra = "/etc/pg/postgresql.conf", "/etc/pg/conf.d/10.conf"
	tests := []struct {
		name, main, extra, value string
		want                     []Source
	}{
		{"line in the include", "x = 1\ninclude_dir 'conf.d'\n", "x = 2 # c\n", "3", []Source{{extra, []byte("x = 3 # c\n")}}},
		{"line in main behind the include", "include_dir 'conf.d'\nx = 1\n", "x = 2\n", "3", []Source{{main, []byte("include_dir 'conf.d'\nx = 3\n")}}},
		{"absent: behind the include at the end of main", "y = 1\ninclude_dir 'conf.d'", "z = 2\n", "3", []Source{{main, []byte("y = 1\ninclude_dir 'conf.d'\nx = 3\n")}}},
		{"value already there", "include_dir 'conf.d'\n", "x = '3'\n", "3", nil},
		{"an overridden line with the value does not count", "x = 3\ninclude_dir 'conf.d'\n", "x = 4\n", "3", []Source{{extra, []byte("x = 3\n")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tree := load(t, disk{main: tt.main, extra: tt.extra})
			got, err := tree.Set("x", tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if v, _, _, ok := tree.Get("x"); !ok || v != tt.value {
				t.Errorf("x = %q afterwards", v)
			}
			// What was changed is what a new reading of the files sees.
			again := disk{}
			for _, s := range tree.Files() {
				again[s.Path] = string(s.Data)
			}
			if v, _, _, _ := load(t, again).Get("x"); v != tt.value {
				t.Errorf("x = %q when read again", v)
			}
			if more, err := tree.Set("x", tt.value); err != nil || more != nil {
				t.Errorf("a second Set changed %v, %v", more, err)
			}
		})
	}
}

func TestTreeSetRefusesAndChangesNothing(t *testing.T) {
	t.Parallel()
	tree := load(t, disk{"/etc/pg/postgresql.conf": "x = 1\n"})
	if got, err := tree.Set("x", "a\nb"); err == nil || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if v, _, _, _ := tree.Get("x"); v != "1" {
		t.Errorf("x = %q", v)
	}
	if _, _, _, ok := tree.Get("y"); ok {
		t.Error("y is set")
	}
}

func TestFilesAreInReadingOrder(t *testing.T) {
	t.Parallel()
	tree := load(t, disk{
		"/etc/pg/postgresql.conf": "include 'z'\ninclude 'a'\nbad\ninclude 'z'\n",
		"/etc/pg/z":               "\nworse =\n", "/etc/pg/a": "",
	})
	want := []Source{
		{"/etc/pg/postgresql.conf", []byte("include 'z'\ninclude 'a'\nbad\ninclude 'z'\n")},
		{"/etc/pg/z", []byte("\nworse =\n")},
		{"/etc/pg/a", nil},
	}
	if diff := cmp.Diff(want, tree.Files()); diff != "" {
		t.Error(diff)
	}
}
