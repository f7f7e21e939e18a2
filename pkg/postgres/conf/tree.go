package conf

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// maxDepth is CONF_FILE_MAX_DEPTH of the server; the main file has depth 0.
const maxDepth = 10

// Source is one file and its bytes.
type Source struct {
	Path string
	Data []byte
}

// IncludeError is an include directive that makes the server give up.
type IncludeError struct {
	File string // path of the file that holds the directive
	Include
	Err error
}

func (e *IncludeError) Error() string {
	return fmt.Sprintf("%s:%d: %s '%s': %v", e.File, e.Line, e.Kind, e.Path, e.Err)
}

func (e *IncludeError) Unwrap() error { return e.Err }

// Tree is a main configuration file with all that it includes. It does not know
// postgresql.auto.conf, which the server reads after it, nor the command line.
type Tree struct {
	main    string
	order   []string // paths, in the order of their first reading
	files   map[string]*File
	dirs    map[string][]string // names in each directory of an include_dir
	read    func(string) ([]byte, bool, error)
	list    func(string) ([]string, error)
	effects []located // every setting in the order the server applies them
}

type located struct {
	path string
	Setting
}

// Load reads the main file, which must be an absolute path, and follows its
// include directives in the server's order. What makes the server give up (a
// missing file, a file that includes itself, more than 10 levels) is an
// *IncludeError.
//
// read tells a missing file from one that cannot be read; list returns the
// names, without directories, of what is in a directory. Each is called once
// for a path.
func Load(main string, read func(path string) (data []byte, exists bool, err error), list func(dir string) (names []string, err error)) (*Tree, error) {
	t := &Tree{
		main:  path.Clean(main),
		files: map[string]*File{},
		dirs:  map[string][]string{},
		read:  read,
		list:  list,
	}
	f, err := t.open(t.main)
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("read %s: no such file", t.main)
	}
	if err := t.walk(); err != nil {
		return nil, err
	}
	return t, nil
}

// walk lists the settings in the order in which the server applies them.
func (t *Tree) walk() error {
	t.effects = nil
	return t.visit([]string{t.main})
}

// visit adds the file at the end of chain, which is the path of inclusion that
// leads to it.
func (t *Tree) visit(chain []string) error {
	from := chain[len(chain)-1]
	for i, l := range t.files[from].lines {
		switch l.kind {
		case setting:
			t.effects = append(t.effects, located{from, Setting{l.name, l.value, i + 1}})
		case include:
			directive := Include{IncludeKind(foldName(l.name)), l.value, i + 1}
			if err := t.follow(chain, directive); err != nil {
				// Only the directive that fails is named, not those
				// that lead to it.
				if _, named := errors.AsType[*IncludeError](err); named {
					return err
				}
				return &IncludeError{from, directive, err}
			}
		}
	}
	return nil
}

func (t *Tree) follow(chain []string, d Include) error {
	// A blank path would name the directory of the including file.
	if strings.Trim(d.Path, " \t\r\n") == "" {
		return errors.New("empty file name")
	}
	target := d.Path
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(chain[len(chain)-1]), target)
	}
	target = path.Clean(target)

	if d.Kind != IncludeDir {
		return t.enter(chain, target, d.Kind == IncludeFile)
	}
	names, err := t.confFiles(target)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := t.enter(chain, path.Join(target, name), true); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) enter(chain []string, target string, mustExist bool) error {
	// The server notices a loop over several files only by its depth; the
	// outcome, an error, is the same.
	if slices.Contains(chain, target) {
		return fmt.Errorf("%s includes itself", target)
	}
	if len(chain) > maxDepth {
		return fmt.Errorf("%s: more than %d levels of inclusion", target, maxDepth)
	}
	f, err := t.open(target)
	if err != nil {
		return err
	}
	if f == nil {
		if mustExist {
			return fmt.Errorf("read %s: no such file", target)
		}
		return nil
	}
	return t.visit(append(slices.Clone(chain), target))
}

// open returns the file, or nil when it does not exist.
func (t *Tree) open(p string) (*File, error) {
	if f, known := t.files[p]; known {
		return f, nil
	}
	data, exists, err := t.read(p)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	if !exists {
		t.files[p] = nil
		return nil, nil
	}
	t.files[p] = Parse(data)
	t.order = append(t.order, p)
	return t.files[p], nil
}

// confFiles returns what include_dir takes from a directory: names of more than
// the ending, ending in .conf, not hidden, in byte order whatever the locale.
func (t *Tree) confFiles(dir string) ([]string, error) {
	if names, known := t.dirs[dir]; known {
		return names, nil
	}
	all, err := t.list(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var names []string
	for _, name := range all {
		if len(name) > len(".conf") && name[0] != '.' && strings.HasSuffix(name, ".conf") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	t.dirs[dir] = names
	return names, nil
}

// Get returns the value that counts over all files, which is the last one read,
// and where it stands.
func (t *Tree) Get(name string) (value, path string, line int, ok bool) {
	name = foldName(name)
	for _, e := range slices.Backward(t.effects) {
		if foldName(e.Name) == name {
			return e.Value, e.path, e.Line, true
		}
	}
	return "", "", 0, false
}

// Set gives name the value in the file that holds the line that counts, or at
// the end of the main file, which is read after all that it includes. It returns
// the file that changed, or nothing when the value was there.
func (t *Tree) Set(name, value string) (changed []Source, err error) {
	target := t.main
	if _, p, _, ok := t.Get(name); ok {
		target = p
	}
	f := t.files[target]
	before := f.Bytes()
	if err := f.Set(name, value); err != nil {
		return nil, err
	}
	after := f.Bytes()
	if bytes.Equal(before, after) {
		return nil, nil
	}
	// Set cannot add a directive, so nothing new is read here.
	if err := t.walk(); err != nil {
		return nil, fmt.Errorf("read the edited files: %w", err)
	}
	return []Source{{target, after}}, nil
}

// Files returns every file that was read, once, in the order of first reading.
func (t *Tree) Files() []Source {
	var all []Source
	for _, p := range t.order {
		all = append(all, Source{p, t.files[p].Bytes()})
	}
	return all
}
