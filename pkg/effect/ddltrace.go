package effect

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DDLTrace is where in the catalogs is seen whether a statement that can be in no
// transaction has happened, and what was there before it, as JSON. It is noted before it.
const DDLTrace = "ddl.trace"

// trace is that. It has oids: names may mean something else to the next who looks.
type trace struct {
	Kind ddl.TraceKind `json:"kind,omitempty"`
	// OID is the index that is dropped, or the partition; 0 if it was not there.
	OID int64 `json:"oid,omitempty"`
	// Of is the table of the index that is made, the parent, or the enum.
	Of int64 `json:"of,omitempty"`
	// Name is that of the index that is made, or the value, as the catalogs have it.
	Name string `json:"name,omitempty"`
	// Subject and Owner are OID (or Name) and Of in words, as SQL.
	Subject string `json:"subject,omitempty"`
	Owner   string `json:"owner,omitempty"`
	// Before was there; nil is nothing.
	Before *entry `json:"before,omitempty"`
}

// entry is what the catalogs have.
type entry struct {
	OID   int64 `json:"oid"`
	Whole bool  `json:"whole"`
}

// fate is what became of the statement.
type fate int

const (
	notHappened  fate = iota
	halfHappened      // an index is invalid, or a partition about to be detached
	hasHappened
)

// traceOf finds what a statement is about, as the session finds it by name.
func traceOf(ctx context.Context, s host.SQL, v postgres.Version, statement string) (*trace, error) {
	to, err := ddl.TraceOf(statement, v)
	if err != nil {
		return nil, err
	}
	t := &trace{Kind: to.Kind}
	switch to.Kind {
	case ddl.NoTrace:
		return t, nil
	case ddl.IndexMade:
		t.Name, t.Subject = to.Name.Name, to.Name.String()
		t.Of, t.Owner, err = named(ctx, s, postgres.RelationNamed, to.Of.String())
	case ddl.IndexDropped:
		t.OID, t.Subject, err = named(ctx, s, postgres.RelationNamed, to.Name.String())
	case ddl.PartitionDetached:
		if t.OID, t.Subject, err = named(ctx, s, postgres.RelationNamed, to.Name.String()); err == nil {
			t.Of, t.Owner, err = named(ctx, s, postgres.RelationNamed, to.Of.String())
		}
	case ddl.ValueAdded:
		t.Name, t.Subject = to.Value, to.Value
		t.Of, t.Owner, err = named(ctx, s, postgres.TypeNamed, quotedName(to.Of))
	}
	if err == nil {
		t.Before, err = t.now(ctx, s, v)
	}
	return t, err
}

// quotedName has every part in quotes, for a type may be called as a keyword is.
func quotedName(n ddl.Name) string {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	if n.Schema == "" {
		return quote(n.Name)
	}
	return quote(n.Schema) + "." + quote(n.Name)
}

// named looks for what has a name: its oid, 0 if there is none, and its full name.
func named(ctx context.Context, s host.SQL, query func(string) (string, error), name string) (int64, string, error) {
	q, err := query(name)
	if err != nil {
		return 0, "", err
	}
	var rows []struct {
		OID  int64  `json:"oid"`
		Name string `json:"name"`
	}
	if err := s.Query(ctx, &rows, q); err != nil {
		return 0, "", fmt.Errorf("look for %s: %w", name, err)
	}
	if len(rows) == 0 {
		return 0, name, nil
	}
	return rows[0].OID, rows[0].Name, nil
}

// now is what the catalogs have.
func (t *trace) now(ctx context.Context, s host.SQL, v postgres.Version) (*entry, error) {
	var query string
	var err error
	switch t.Kind {
	case ddl.IndexMade:
		query, err = postgres.IndexOn(t.Of, t.Name)
	case ddl.IndexDropped:
		query = postgres.IndexByOID(t.OID)
	case ddl.PartitionDetached:
		query = v.PartitionOf(t.Of, t.OID)
	case ddl.ValueAdded:
		query, err = postgres.ValueOf(t.Of, t.Name)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []entry
	if err := s.Query(ctx, &rows, query); err != nil {
		return nil, fmt.Errorf("look for %s in the catalogs: %w", t.Subject, err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// fate compares what is there with what was.
func (t *trace) fate(now *entry) fate {
	switch {
	case t.Kind == ddl.NoTrace, t.Kind.Takes() && t.Before == nil:
		return notHappened
	case t.Kind.Takes() && now == nil:
		return hasHappened
	case t.Kind.Takes() && t.Before.Whole && !now.Whole:
		return halfHappened
	case t.Kind.Takes(), now == nil, t.Before != nil && now.OID == t.Before.OID:
		return notHappened
	case now.Whole:
		return hasHappened
	}
	return halfHappened
}

// rest is the statement that ends what is taken away by half.
func (t *trace) rest() string {
	if t.Kind == ddl.PartitionDetached {
		return "ALTER TABLE " + t.Owner + " DETACH PARTITION " + t.Subject + " FINALIZE"
	}
	return "DROP INDEX CONCURRENTLY " + t.Subject
}

// tells says what has happened.
func (t *trace) tells(f fate) string {
	switch {
	case t.Kind == ddl.IndexMade:
		return "index " + t.Subject + " of " + t.Owner + " is made"
	case t.Kind == ddl.ValueAdded:
		return "value " + t.Subject + " of " + t.Owner + " is added"
	case t.Kind == ddl.IndexDropped && f == halfHappened:
		return "index " + t.Subject + " is dropped by half: it is invalid, no read uses it, and writes still pay for it"
	case t.Kind == ddl.IndexDropped:
		return "index " + t.Subject + " is dropped"
	case f == halfHappened:
		return "partition " + t.Subject + " of " + t.Owner + " is detached by half (detach pending): no new read of " + t.Owner + " opens it"
	}
	return "partition " + t.Subject + " of " + t.Owner + " is detached"
}

// onward is what to type when it cannot be taken back.
func (t *trace) onward(f fate, run, database string) string {
	s := "go forward instead: pgrepctl ddl resume " + run
	if f == halfHappened {
		s += ", which does the rest; by hand, in database " + database + ": " + t.rest()
	}
	return s
}

// noted is the trace that this run has noted, one of nothing if it has none.
func noted(env Env) (*trace, error) {
	t := &trace{}
	text, _ := env.Known(DDLTrace)
	if text == "" {
		return t, nil
	}
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return nil, fmt.Errorf("read %s: %w", DDLTrace, err)
	}
	return t, nil
}

// became looks what became of the run's statement.
func (e *DropInvalid) became(ctx context.Context, env Env, s host.SQL) (*trace, fate, error) {
	t, err := noted(env)
	if err != nil {
		return nil, notHappened, err
	}
	now, err := t.now(ctx, s, e.Version)
	return t, t.fate(now), err
}

// happened refuses to take back what there is no way back from.
func (e *DropInvalid) happened(env Env, t *trace, f fate) error {
	if f == notHappened || f == halfHappened && !t.Kind.Takes() {
		return nil
	}
	return &fault.Error{Class: fault.Refused, Host: e.Host, Op: "take the DDL back",
		Err: fmt.Errorf("%s: %w", t.tells(f), ErrHappened), Hint: t.onward(f, env.Run().ID, e.Database)}
}
