package live

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// accessScript asks the kernel what its user may do with the directories and files that
// it is given, in their order.
const accessScript = `main() {
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin; export PATH
kv() { printf '%s=%s\0' "$1" "$2"; }
printf '\0begin:%s\0' "$1"
nonce=$1; shift
for dir in "$@"; do
	may= owner= mode= parent=$(dirname "$dir")
	if [ -d "$dir" ]; then
		may="exists"
		[ -r "$dir" ] && [ -x "$dir" ] && may="$may read"
		[ -w "$dir" ] && [ -x "$dir" ] && may="$may write"
		owner=$(stat -L -c %U "$dir" 2>/dev/null)
	elif [ -f "$dir" ]; then
		may=file
		[ -r "$dir" ] && may="file read"
		owner=$(stat -L -c %U "$dir" 2>/dev/null)
		mode=$(stat -L -c %a "$dir" 2>/dev/null)
	elif [ ! -e "$dir" ] && [ -d "$parent" ] && [ -w "$parent" ] && [ -x "$parent" ]; then
		may=make
	fi
	kv may "$may"
	kv owner "$owner"
	kv mode "$mode"
done
printf 'end:%s\0' "$nonce"
}
main "$@" </dev/null
`

// Access asks about all of them at once.
func (g *Gatherer) Access(ctx context.Context, as string, dirs []string) ([]facts.Access, error) {
	rec, err := probe(ctx, g.h, as, accessScript, dirs...)
	if err != nil {
		return nil, err
	}
	may, owner, mode := rec.values["may"], rec.values["owner"], rec.values["mode"]
	if len(may) != len(dirs) || len(owner) != len(dirs) || len(mode) != len(dirs) {
		return nil, fmt.Errorf("answer is about %d of %d directories and files", len(may), len(dirs))
	}
	out := make([]facts.Access, len(dirs))
	for i, dir := range dirs {
		a := facts.Access{Path: dir, Owner: strings.TrimSpace(owner[i])}
		if m, err := strconv.ParseUint(strings.TrimSpace(mode[i]), 8, 16); err == nil {
			a.Mode = fs.FileMode(m).Perm()
		}
		for _, word := range strings.Fields(may[i]) {
			switch word {
			case "file":
				a.File = true
			case "exists":
				a.Exists = true
			case "read":
				a.Read = true
			case "write":
				a.Write = true
			case "make":
				a.Make = true
			}
		}
		out[i] = a
	}
	return out, nil
}
