package ddl

import "github.com/pgrepctl/pgrepctl/pkg/postgres"

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

// Traceless is why a statement that can be in no transaction is refused: interrupted, nobody
// could tell whether it has happened.
type Traceless struct{ Why, Hint string }

func (e *Traceless) Error() string { return e.Why }

// nameless: the server goes on making an index when its client is gone.
func nameless() *Traceless {
	return &Traceless{Hint: "give the index a name",
		Why: "CREATE INDEX CONCURRENTLY without a name: interrupted, nobody could tell whether it is made, and going on would make a second index"}
}

// unread is a value that what the catalogs have cannot be compared with.
func unread() *Traceless {
	return &Traceless{Hint: "write it as a plain string: 'a value'",
		Why: "ALTER TYPE … ADD VALUE with a string that is not read here: interrupted, nobody could tell whether it is added, and going on would add it again"}
}

// TraceOf is that of one statement.
func TraceOf(statement string, v postgres.Version) (Trace, error) {
	r := reading{version: v}
	pieces := r.split(statement)
	if len(pieces) != 1 || len(r.problems) > 0 {
		return Trace{}, nil // the server will say so
	}
	j := classify(pieces[0], v, &r.made)
	if j.traceless != nil {
		return Trace{}, j.traceless
	}
	return j.trace, nil
}
