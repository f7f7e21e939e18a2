package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ErrNoRestorePoint says that the WAL between two positions has none of that name.
var ErrNoRestorePoint = errors.New("no such restore point")

// RestorePoint looks for a restore point in the WAL that a standby has received and
// not replayed, and returns where its record begins: the first one of that name, where
// replay would stop. There is none only in WAL that was read: else it is ErrUnread.
func RestorePoint(ctx context.Context, r host.Runner, w WALSource, name string) (postgres.LSN, error) {
	missing := fmt.Errorf("%w in the WAL %s: %q", ErrNoRestorePoint, w, name)
	if w.nothing() {
		return 0, missing
	}
	list, err := w.stretches(ctx, r)
	if err != nil {
		return 0, err
	}
	d, err := w.dump(ctx, r, list, restorePointScript)
	if err != nil {
		return 0, err
	}
	if at, ok := findRestorePoint(d.text, name); ok {
		return at, nil
	}
	if d.code != 0 {
		return 0, w.unread(d)
	}
	return 0, missing
}

// restorePointScript keeps on the host what is no restore point: other records of the
// same kind, such as the images of pages that got a hint, may be a large part of the WAL.
const restorePointScript = `
dump XLOG | awk '/ desc: RESTORE_POINT / || /^unread /'
`

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
