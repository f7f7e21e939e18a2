package steps

import (
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// syncScript syncs file systems, which is one flush for all files where initdb needs
// one for each: 0.5 s against 17 s for 10,000 of them. Before Linux 5.8 syncfs tells
// nothing of data that could not be written (PostgreSQL's manual says so of
// recovery_init_sync_method), and a sync of another making may know no -f. initdb does
// not come after a sync that failed: the kernel tells of an error once. So a failure
// leaves a mark; not that of a program which could not be run (126, 127).
const syncScript = `initdb=$1 data=$2
shift
case $(uname -sr) in
"Linux "[0-4].* | "Linux 5."[0-7].* | "Linux 5."[0-7]-*) ;;
"Linux "*)
	if sync --help 2>/dev/null | grep -q -e --file-system; then
		initdb=
	fi ;;
esac
if [ "$initdb" ]; then
	"$initdb" --sync-only -D "$data"
else
	sync -f "$@"
fi
code=$?
case $code in
0 | 126 | 127) ;;
*) ` + effect.MarkUnsynced + ` ;;
esac
exit "$code"`

// syncfsTells reports the same of a kernel, as uname -sr has it.
func syncfsTells(kernel string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(kernel, "Linux %d.%d", &major, &minor)
	return n == 2 && (major > 5 || major == 5 && minor >= 8)
}

// durable syncs every file and every directory of a copy, and of what lies outside of
// its data directory.
func durable(to *inventory.Host, h *facts.Host, trees []tree) effect.Effect {
	dir := to.Postgres.DataDirectory
	argv := []string{"sh", "-c", syncScript, "pgrepctl-sync", path.Join(h.Machine.BinDirectory, "initdb"), dir}
	for _, t := range trees {
		if !t.main {
			argv = append(argv, t.target)
		}
	}
	if wal := to.Postgres.WALDirectory; wal != "" {
		argv = append(argv, wal)
	}
	return &effect.SyncCopy{Exec: effect.Exec{Host: to.Name, As: to.Postgres.OSUser, Argv: argv, Verb: "fsync", What: dir}, Boot: h.Machine.BootID}
}
