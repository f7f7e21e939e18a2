package ddl

import (
	"errors"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Trace is where in the catalogs is seen whether a statement that can be in no transaction
// has happened. No id of a transaction tells that.
type Trace struct {
	Kind TraceKind
	// Name is the index, or the partition.
	Name Name
	// Of is the table of the index, the parent of the partition, or the enum.
	Of    Name
	Value string // of the enum
}

// TraceKind is what a statement makes or takes away.
type TraceKind string

// The kinds. NoTrace is of statements that do no harm when they are run again: REINDEX,
// VACUUM.
const (
	NoTrace           TraceKind = ""
	IndexMade         TraceKind = "index-made"
	IndexDropped      TraceKind = "index-dropped"
	PartitionDetached TraceKind = "partition-detached"
	ValueAdded        TraceKind = "value-added"
)

// Takes reports whether it takes something away. What is done of that by half cannot be
// taken back; a half made index can be dropped.
func (k TraceKind) Takes() bool { return k == IndexDropped || k == PartitionDetached }

// nameless is why an index that is made concurrently has to have a name: the server goes
// on making it when its client is gone.
const nameless = "CREATE INDEX CONCURRENTLY without a name: interrupted, nobody could tell whether it is made, and going on would make a second index"

// TraceOf is that of one statement.
func TraceOf(statement string, v postgres.Version) (Trace, error) {
	r := reading{version: v}
	pieces := r.split(statement)
	if len(pieces) != 1 || len(r.problems) > 0 {
		return Trace{}, nil // the server will say so
	}
	j := classify(pieces[0], v, &r.made)
	if j.nameless {
		return Trace{}, errors.New(nameless)
	}
	return j.trace, nil
}

// plain is what a string in plain quotes says.
func (p *piece) plain(t token) (string, bool) {
	if t.kind != str {
		return "", false
	}
	text := p.text[t.start-p.start : t.end-p.start]
	if !strings.HasPrefix(text, "'") {
		return "", false
	}
	return strings.ReplaceAll(strings.TrimSuffix(text[1:], "'"), "''", "'"), true
}
