package live

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// spaceScript tells of the directories that it is given, in their order. Of one
// that is missing, the nearest that is there says where it will be.
const spaceScript = `main() {
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin; export PATH
kv() { printf '%s=%s\0' "$1" "$2"; }
printf '\0begin:%s\0' "$1"
nonce=$1; shift
for dir in "$@"; do
	near=$dir exists=no
	[ -d "$dir" ] && exists=yes
	while [ ! -d "$near" ] && [ "$near" != / ]; do
		case $near in */*) near=${near%/*} ;; *) near=. ;; esac
		near=${near:-/}
	done
	kv exists "$exists"
	kv device "$(stat -L -c %d "$near" 2>/dev/null)"
	kv df "$(df -Pk "$near" 2>/dev/null)"
done
printf 'end:%s\0' "$nonce"
}
main "$@" </dev/null
`

// Space asks about all directories at once.
func (g *Gatherer) Space(ctx context.Context, as string, dirs []string) ([]facts.Space, error) {
	rec, err := probe(ctx, g.h, as, spaceScript, dirs...)
	if err != nil {
		return nil, err
	}
	exists, device, df := rec.values["exists"], rec.values["device"], rec.values["df"]
	if len(exists) != len(dirs) || len(device) != len(dirs) || len(df) != len(dirs) {
		return nil, fmt.Errorf("answer is about %d of %d directories", len(exists), len(dirs))
	}
	out := make([]facts.Space, len(dirs))
	for i, dir := range dirs {
		s := parseDF(df[i])
		out[i] = facts.Space{Path: dir, Exists: exists[i] == "yes", Device: strings.TrimSpace(device[i]), FreeBytes: s.free, TotalBytes: s.total}
	}
	return out, nil
}
