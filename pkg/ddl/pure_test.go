package ddl_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestPackageTouchesNoHost(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains([]string{"os", "os/exec", "net", "io/fs", "log", "syscall", "crypto/rand", "math/rand"}, p) ||
				strings.Contains(p, "pgx") || strings.Contains(p, "ssh") {
				t.Errorf("%s imports %s", file, p)
			}
		}
	}
}
