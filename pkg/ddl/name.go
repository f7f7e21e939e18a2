package ddl

import (
	"slices"
	"strings"
)

// Name is a relation or an index as a script names it, folded as the server does and
// without quotes.
type Name struct {
	Schema string `json:"schema,omitempty"` // empty: the script leaves it to search_path
	Name   string `json:"name"`
	// Made: an earlier statement of the script makes it, or this one.
	Made bool `json:"made,omitempty"`
	// Optional: the statement does not mind when it is not there.
	Optional bool `json:"optional,omitempty"`
}

// String is the name as SQL, with quotes only where it needs them: to_regclass
// understands it.
func (n Name) String() string {
	if n.Schema == "" {
		return part(n.Name)
	}
	return part(n.Schema) + "." + part(n.Name)
}

func part(s string) string {
	for i, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '$') {
			continue
		}
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}

// Is reports whether the two are written alike; not whether one is made by the script, or
// may be missing.
func (n Name) Is(o Name) bool { return n.Schema == o.Schema && n.Name == o.Name }

// made is what the statements before have made. Whoever reads cannot have opened it
// when that was in the same transaction.
type made struct {
	here  []object // in the transaction that the next statement joins
	ever  []object
	types []string // enums: adding a column of one rewrites nothing
	keys  bool     // perhaps foreign keys
}

type object struct {
	name Name
	on   *Name // the table of an index
	old  bool  // it was there before, under another name
	// partitioned: it is PARTITION BY.
	partitioned bool
}

func (m *made) add(o object) {
	m.ever = append(m.ever, o)
	if !o.old {
		m.here = append(m.here, o)
	}
}

// forget: the name is gone, or means something else.
func (m *made) forget(n Name) {
	gone := func(o object) bool { return o.name.Is(n) }
	m.here, m.ever = slices.DeleteFunc(m.here, gone), slices.DeleteFunc(m.ever, gone)
}

// commit: what comes next is another transaction.
func (m *made) commit() { m.here = nil }

func find(in []object, n Name) (object, bool) {
	for _, o := range in {
		if o.name.Is(n) {
			return o, true
		}
	}
	return object{}, false
}

// isPartitioned: the script has made it a table with partitions.
func (m *made) isPartitioned(n Name) bool {
	o, ok := find(m.ever, n)
	return ok && o.partitioned
}

// noIndex: the script has made it, as something else than an index.
func (m *made) noIndex(n Name) bool {
	o, ok := find(m.ever, n)
	return ok && o.on == nil
}

// isNew: nobody but this transaction can know the relation; of an index, its table too.
func (m *made) isNew(n Name) bool {
	o, ok := find(m.here, n)
	return ok && (o.on == nil || m.isNew(*o.on))
}
