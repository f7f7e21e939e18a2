package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
)

// authFiles are a pg_hba.conf or pg_ident.conf and all that it takes in, over every
// level: by @file in a column, and from 16 on by an include. A name is relative to the
// directory of the file that it stands in, as for the server.
func authFiles(ctx context.Context, h *facts.Host, as, main string) ([]string, error) {
	var all []string
	for todo := []string{main}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		f, err := h.File(ctx, as, at)
		if err != nil {
			return nil, err
		}
		if !f.Exists || slices.Contains(all, at) {
			continue
		}
		all = append(all, at)
		for _, name := range listFiles(f.Data) {
			todo = append(todo, within(path.Dir(at), name))
		}
		for _, i := range hba.Parse(f.Data).Includes() {
			p := within(path.Dir(at), i.Path)
			if i.Kind != "include_dir" {
				todo = append(todo, p)
				continue
			}
			names, err := authDir(ctx, h, as, p)
			if err != nil {
				return nil, err
			}
			todo = append(todo, names...)
		}
	}
	return all, nil
}

// authDir is what include_dir takes from a directory.
func authDir(ctx context.Context, h *facts.Host, as, dir string) ([]string, error) {
	entries, err := h.List(ctx, as, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s on %s: %w", dir, h.Name, err)
	}
	var out []string
	for _, e := range entries {
		if !e.Mode.IsDir() && strings.HasSuffix(e.Name, ".conf") && e.Name[0] != '.' {
			out = append(out, path.Join(dir, e.Name))
		}
	}
	return out, nil
}

// authWord is a comment, or a word with its quotes: see next_token in hba.c.
var authWord = regexp.MustCompile(`#[^\n]*|(?:"[^"\n]*"?|[^\s,"#])+`)

// listFiles are the names after an @ that no quotes take the meaning from. It may stand
// in any column, and in the file that is named, too.
func listFiles(text []byte) []string {
	var out []string
	for _, w := range authWord.FindAllString(string(text), -1) {
		if name, ok := strings.CutPrefix(w, "@"); ok && name != "" {
			out = append(out, strings.ReplaceAll(name, `"`, ""))
		}
	}
	return out
}
