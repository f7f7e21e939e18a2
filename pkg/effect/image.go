package effect

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// sumsSuffix ends the name of the file beside an image that lists the hashes of
// what a run wrote, where the journal may not have them.
const sumsSuffix = ".sums"

// keepImage stores the bytes before an edit in a 0600 file below a 0700
// directory of the same OS user.
//
// The hash of a secret stays with its image, on the host that has the secret
// itself: from the journal, which travels, a short one could be guessed. As the
// name cannot tell the images of two edits apart then, the first one is kept:
// an undo goes all the way back anyway.
func (e *WriteFile) keepImage(ctx context.Context, files host.Files) error {
	image := e.image()
	for _, dir := range []string{path.Dir(path.Dir(image)), path.Dir(image)} {
		if err := files.Mkdir(ctx, dir, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	keep := func(p string, data []byte) error {
		if err := sweep(ctx, files, p); err != nil {
			return err
		}
		if err := files.Write(ctx, host.File{Path: p, Data: data, Mode: 0o600, UID: -1, GID: -1}, nil); err != nil {
			return fmt.Errorf("keep the old bytes in %s: %w", p, err)
		}
		return nil
	}
	if !e.secret() {
		return keep(image, e.Before.Data)
	}
	written, err := readSums(ctx, files, image)
	if err != nil {
		return err
	}
	if !slices.Contains(written, sum(e.Before.Data)) {
		if err := keep(image, e.Before.Data); err != nil {
			return err
		}
	}
	return keep(image+sumsSuffix, []byte(strings.Join(append(written, sum(e.Data)), "\n")+"\n"))
}

func readSums(ctx context.Context, files host.Files, image string) ([]string, error) {
	f, err := files.Read(ctx, image+sumsSuffix)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", image+sumsSuffix, err)
	}
	return strings.Fields(string(f.Data)), nil
}

// WayBack is what a person types who wants the file as it was; empty when nothing was kept.
func (e *WriteFile) WayBack() string {
	if !e.Before.Exists || e.Image == "" {
		return ""
	}
	return shell.Typed(e.As, "cp", e.image(), e.Path)
}

// image is where the bytes before are kept.
func (e *WriteFile) image() string {
	if e.secret() {
		return e.Image
	}
	return e.Image + "." + sum(e.Before.Data)[:8]
}
