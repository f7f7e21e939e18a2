package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ownBuild is a build of PostgreSQL that the user has made, copied to where
// Debian's postgresql-common finds it.
type ownBuild struct {
	prefix, major string
	dir           string // final place
}

// planBuild asks the build for its version.
func planBuild(cache, prefix string) (*ownBuild, error) {
	prefix, err := filepath.Abs(prefix)
	if err != nil {
		return nil, fmt.Errorf("find the build: %w", err)
	}
	server := filepath.Join(prefix, "bin", "postgres")
	out, err := exec.Command(server, "--version").Output()
	if err != nil {
		return nil, &fault.Error{Class: fault.Usage, Op: "ask " + server + " for its version", Err: err, Hint: "name the directory that holds bin, lib and share"}
	}
	v, err := postgres.ParseVersion(string(out))
	if err != nil {
		return nil, &fault.Error{Class: fault.Usage, Op: "ask " + server + " for its version", Err: err}
	}
	st, err := os.Stat(server)
	if err != nil {
		return nil, fmt.Errorf("look at the build: %w", err)
	}
	// Built again, it is another one.
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%s\x00%s", copyBuild, prefix, v, st.ModTime()))
	return &ownBuild{prefix: prefix, major: v.Major(), dir: filepath.Join(cache, "postgresql-"+v.String()+"-"+hex.EncodeToString(sum[:6]))}, nil
}

func (b *ownBuild) path() string { return b.dir }

// copyBuild: $1 the build, $2 where to.
const copyBuild = `
mkdir -p "$2"
cp -R "$1/." "$2"
chmod -R u=rwX,go=rX "$2"
# pg_ctlcluster asks the server through psql; any newer client will do.
for p in psql pgbench; do [ -e "$2/bin/$p" ] || ln -sf ../../15/bin/$p "$2/bin/$p"; done
`

func (b *ownBuild) ensure(ctx context.Context, rootless bool, say func(string)) error {
	return ensureTree(ctx, b.dir, rootless, func(tmp string) error {
		say("copying the build of PostgreSQL " + b.major + " in " + b.prefix)
		argv := []string{"sh", "-euc", copyBuild, "sh", b.prefix, filepath.Join(tmp, "usr/lib/postgresql", b.major)}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		if rootless {
			cmd = asMappedRoot(ctx, argv...)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", b.prefix, err, bytes.TrimSpace(out))
		}
		return nil
	})
}
