package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// maxFile bounds what is read; a path may turn out to be a device.
const maxFile = 1 << 20

// entry is one key of a settings file, checked.
type entry struct {
	key   Key
	value any
	at    string // file:line
}

// readFile returns what a settings file sets, or every mistake in it, joined.
// A missing file sets nothing.
func readFile(path, home string) ([]entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	}
	return parseFile(path, home, data)
}

func parseFile(path, home string, data []byte) ([]entry, error) {
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		return nil, syntaxError(path, err)
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 {
		return nil, nil // only comments
	}
	if len(docs) > 1 {
		return nil, fmt.Errorf("%s:%d: a second YAML document begins here", path, docs[1].Line)
	}
	top := docs[0].Content[0]
	if top.Kind == yaml.ScalarNode && top.ShortTag() == "!!null" {
		return nil, nil
	}
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d:%d: must be keys and values", path, top.Line, top.Column)
	}
	var (
		entries  []entry
		problems []error
		first    = make(map[string]int)
	)
	for i := 0; i+1 < len(top.Content); i += 2 {
		name, node := top.Content[i], top.Content[i+1]
		at := fmt.Sprintf("%s:%d:%d", path, name.Line, name.Column)
		if line, twice := first[name.Value]; twice {
			problems = append(problems, fmt.Errorf("%s: %s is given already in line %d", at, name.Value, line))
			continue
		}
		first[name.Value] = name.Line
		k, v, err := entryOf(name, node)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", at, err))
			continue
		}
		if k.Kind == Path {
			v = fromFile(v.(string), filepath.Dir(path), home)
		}
		entries = append(entries, entry{k, v, fmt.Sprintf("%s:%d", path, name.Line)})
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return entries, nil
}

func entryOf(name, node *yaml.Node) (Key, any, error) {
	k, ok := find(name.Value)
	switch {
	case name.Kind != yaml.ScalarNode:
		return k, nil, errors.New("a key must be a plain name")
	case !ok:
		return k, nil, errors.New(fault.Unknown(fmt.Sprintf("unknown key %q", name.Value), name.Value, names()))
	case k.CallOnly:
		return k, nil, fmt.Errorf("%s cannot be set in a file: it is given with each call, as --%s or %s", k.Name, k.Name, k.Env())
	case node.Kind != yaml.ScalarNode:
		return k, nil, fmt.Errorf("%s: must be one value", k.Name)
	case node.ShortTag() == "!!null":
		return k, nil, fmt.Errorf("%s: has no value", k.Name)
	}
	// The scalar's own spelling is parsed, not what YAML takes it for: on is
	// a string to YAML 1.2, and 0640 a number.
	v, err := k.parse(node.Value)
	if err != nil {
		return k, nil, fmt.Errorf("%s: %w", k.Name, err)
	}
	return k, v, nil
}

// fromFile makes a path in a settings file independent of where the command is
// called: it means a place beside that file.
func fromFile(path, dir, home string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && home != "" {
		return filepath.Join(home, rest)
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func syntaxError(path string, err error) error {
	var one *yaml.LoadError
	if errors.As(err, &one) && one.Mark.Line > 0 {
		return fmt.Errorf("%s:%d:%d: YAML: %s", path, one.Mark.Line, one.Mark.Column, one.Message)
	}
	return fmt.Errorf("%s: %w", path, err)
}

func names() []string {
	var out []string
	for _, k := range Keys() {
		out = append(out, k.Name)
	}
	return out
}
