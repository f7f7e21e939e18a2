package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// WALSource says where the WAL of a standby is, and how much of it to read.
type WALSource struct {
	Program string // pg_waldump, pg_xlogdump
	Dir     string // of the WAL files
	As      string // who may read them
	// Timeline is the newest that the server has to do with, 0 when that is not known:
	// the WAL is read along a history that has it in it.
	Timeline int
	From     postgres.LSN
	To       postgres.LSN // 0: all that there is
	// Reached is how far replay was, where it begins before that: a server that is started
	// goes through the WAL from its restartpoint on, and cannot stop before this. 0: From.
	Reached postgres.LSN
}

// String is the stretch for a reader.
func (w WALSource) String() string {
	if w.To == 0 {
		return "from " + w.From.String() + " on"
	}
	return "between " + w.From.String() + " and " + w.To.String()
}

// nothing: all that was received is replayed.
func (w WALSource) nothing() bool { return w.To != 0 && w.To <= max(w.From, w.Reached) }

// ErrNoProgram says that the host has no pg_waldump of the server's version, which is
// the only one that reads its WAL.
var ErrNoProgram = errors.New("there is no such program")

// ErrUnread says that WAL which is there was not read, or not all of it: what stands in
// it is not known.
var ErrUnread = errors.New("the WAL cannot be read")

// dumpScript defines dump, which prints the records of one kind, a stretch after the
// other. pg_waldump ends with 1 wherever it cannot go on, also where the WAL ends. Up to
// an end that is known (-e) it ends with 0, also in the middle of a record (seen on 15):
// anything else is WAL that was not read. An open stretch always ends with 1: its first
// record, of whatever kind, says whether it can be read at all.
const dumpScript = `
TZ=UTC LC_ALL=C
export TZ LC_ALL
program=$1 dir=$2 stretches=$3
shift 3
waldump() { "$program" -p "$dir" -t "$tli" -s "$from" ${to:+-e "$to"} "$@" </dev/null; }
stretch() {
	case $(waldump -n 1) in
	*' lsn: '*) ;;
	*) return 1 ;;
	esac
	waldump -r "$1"
	code=$?
	[ "$end$code" != open1 ] || code=0
	return $code
}
dump() {
	printf '%s\n' "$stretches" | while read -r tli from end to; do
		stretch "$1" && continue
		echo "unread $?"
		break
	done
}
`

// dumped is what a script printed that begins with dumpScript.
type dumped struct {
	text string
	// code is what pg_waldump ended with where it left WAL unread; 0: nowhere.
	code  int
	words string // of pg_waldump
}

var unreadLine = regexp.MustCompile(`(?m)^unread (\d+)$`)

// dump runs a script that begins with dumpScript over stretches.
func (w WALSource) dump(ctx context.Context, r host.Runner, over []stretch, script string, args ...string) (dumped, error) {
	var lines []string
	for _, s := range over {
		lines = append(lines, s.line())
	}
	text, words, err := w.run(ctx, r, dumpScript+script, append([]string{w.Program, w.Dir, strings.Join(lines, "\n")}, args...))
	if err != nil {
		return dumped{}, err
	}
	d := dumped{text: text, words: words}
	for _, m := range unreadLine.FindAllStringSubmatch(text, -1) {
		code, err := strconv.Atoi(m[1])
		if err != nil {
			return dumped{}, fmt.Errorf("read the WAL %s: %q", w, m[0])
		}
		d.code = max(d.code, code) // a program that was killed is worse than one that gave up
	}
	return d, nil
}

// unread is the error of a dump that left WAL unread.
func (w WALSource) unread(d dumped) error {
	return fmt.Errorf("%w %s: %s ended with %d: %s", ErrUnread, w, path.Base(w.Program), d.code, host.Tail(d.words, 1))
}

// run runs a script as who may read the WAL. One that fails has not read it.
func (w WALSource) run(ctx context.Context, r host.Runner, script string, args []string) (text, words string, err error) {
	var out, said bytes.Buffer
	argv := append([]string{"sh", "-c", script, "pgrepctl-wal"}, args...)
	err = r.Run(ctx, host.Cmd{Argv: argv, As: w.As, Leash: true}, host.Stdio{Out: &out, Err: &said})
	var exit *host.ExitError
	switch {
	case errors.As(err, &exit) && exit.Code == noProgram:
		return "", "", fmt.Errorf("%s: %w", w.Program, ErrNoProgram)
	case exit != nil:
		return "", "", fmt.Errorf("%w %s: a script ended with %d: %s", ErrUnread, w, exit.Code, host.Tail(said.String(), 1))
	case err != nil:
		return "", "", fmt.Errorf("read the WAL %s: %w", w, err)
	}
	return out.String(), said.String(), nil
}
