package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// WALSource says where the WAL of a standby is, and how much of it to read.
type WALSource struct {
	Program  string // pg_waldump, pg_xlogdump
	Dir      string // of the WAL files
	As       string // who may read them
	Timeline int
	From     postgres.LSN
	To       postgres.LSN // 0: all that there is
}

// String is the stretch for a reader.
func (w WALSource) String() string {
	if w.To == 0 {
		return "from " + w.From.String() + " on"
	}
	return "between " + w.From.String() + " and " + w.To.String()
}

// end is To for pg_waldump, empty for all.
func (w WALSource) end() string {
	if w.To == 0 {
		return ""
	}
	return w.To.String()
}

// ErrNoRestorePoint says that the WAL between two positions has none of that name.
var ErrNoRestorePoint = errors.New("no such restore point")

// ErrNoProgram says that the host has no pg_waldump of the server's version, which is
// the only one that reads its WAL.
var ErrNoProgram = errors.New("there is no such program")

// RestorePoint looks for a restore point in the WAL that a standby has received and
// not replayed, and returns where its record begins: the first one of that name, where
// replay would stop.
func RestorePoint(ctx context.Context, r host.Runner, w WALSource, name string) (postgres.LSN, error) {
	argv := []string{"sh", "-c", restorePointScript, "pgrepctl-restore-point",
		w.Program, "-p", w.Dir, "-t", fmt.Sprint(w.Timeline), "-r", "XLOG", "-s", w.From.String()}
	if end := w.end(); end != "" {
		argv = append(argv, "-e", end)
	}
	var out, words bytes.Buffer
	if err := r.Run(ctx, host.Cmd{Argv: argv, As: w.As, Leash: true}, host.Stdio{Out: &out, Err: &words}); err != nil {
		return 0, fmt.Errorf("read the WAL from %s on: %w", w.From, err)
	}
	at, ok := findRestorePoint(out.String(), name)
	if ok {
		return at, nil
	}
	_, code, _ := strings.Cut("\n"+out.String(), "\nended with ")
	switch strings.TrimSpace(code) {
	case "0", "1": // 1 where the WAL ends, or has never been
		return 0, fmt.Errorf("%w in the WAL %s: %q", ErrNoRestorePoint, w, name)
	case "126", "127":
		return 0, fmt.Errorf("%s: %w", w.Program, ErrNoProgram)
	}
	return 0, fmt.Errorf("read the WAL from %s on: %s ended with %q: %s", w.From, w.Program, strings.TrimSpace(code), host.Tail(words.String(), 3))
}

// restorePointScript keeps on the host what is no restore point: other records of the
// same kind, such as the images of pages that got a hint, may be a large part of the WAL.
const restorePointScript = `LC_ALL=C; export LC_ALL
{ "$@"; echo "ended with $?"; } | grep -e ' desc: RESTORE_POINT ' -e '^ended with '`

// restorePointLine is a record as pg_waldump prints it, of every version from 9.6 on.
var restorePointLine = regexp.MustCompile(`\blsn: ([0-9A-Fa-f]+/[0-9A-Fa-f]+),.*\bdesc: RESTORE_POINT (.*)$`)

func findRestorePoint(text, name string) (postgres.LSN, bool) {
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		m := restorePointLine.FindStringSubmatch(sc.Text())
		if m == nil || m[2] != name {
			continue
		}
		if at, err := postgres.ParseLSN(m[1]); err == nil {
			return at, true
		}
	}
	return 0, false
}
