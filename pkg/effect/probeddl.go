package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ProbeDDL runs a script in the scratch database, and finds out of each statement what it
// locks and what it writes anew. That the server refuses a statement is a result too.
type ProbeDDL struct {
	Host string `json:"host"`
	// Database is the scratch one, Of that of which it has the schema.
	Database string      `json:"database"`
	Of       string      `json:"of"`
	Script   *ddl.Script `json:"-"`
}

// ProbeOutput is the key of the results: a JSON list of ddl.Probed, one a statement.
const ProbeOutput = "ddl.probe"

func (e *ProbeDDL) Kind() string    { return "probe-ddl" }
func (e *ProbeDDL) On() string      { return e.Host }
func (e *ProbeDDL) Inverse() Effect { return nil } // it goes with the database
func (e *ProbeDDL) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *ProbeDDL) Inert() bool { return true }

func (e *ProbeDDL) Describe() Description {
	what := "1 statement"
	if n := len(e.Script.Statements); n != 1 {
		what = fmt.Sprintf("%d statements", n)
	}
	return Description{Verb: "run", Subject: what + " of " + e.Script.File + " in it", Detail: "(nothing of " + e.Of + " itself is touched)"}
}

func (e *ProbeDDL) Do(ctx context.Context, env Env) (_ Output, err error) {
	s, err := e.open(ctx, env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	p := &probe{sql: s, script: e.Script, results: make([]ddl.Probed, len(e.Script.Statements))}
	for i := range p.results {
		p.results[i] = ddl.Probed{Locks: []ddl.Name{}, Rewrites: []ddl.Name{}, Skipped: notReached}
	}
	for _, t := range e.Script.Transactions() {
		goOn, err := p.transaction(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("probe %s: %w", e.Script.File, err)
		}
		if !goOn {
			break
		}
	}
	out, err := json.Marshal(p.results)
	if err != nil {
		return nil, fmt.Errorf("encode the results of the probe: %w", err)
	}
	return Output{ProbeOutput: string(out)}, nil
}

// open gives a session in the scratch database that finds names as one in the other
// database does: ALTER DATABASE … SET search_path is not part of a schema.
func (e *ProbeDDL) open(ctx context.Context, env Env) (host.SQL, error) {
	real, err := e.session(ctx, env, e.Of)
	if err != nil {
		return nil, err
	}
	var path []struct {
		Path string `json:"path"`
	}
	err = real.Query(ctx, &path, "select current_setting('search_path') as path")
	if err = errors.Join(err, real.Close(context.WithoutCancel(ctx))); err != nil || len(path) == 0 {
		return nil, fmt.Errorf("read search_path of %s: %w", e.Of, err)
	}
	s, err := e.session(ctx, env, e.Database)
	if err != nil {
		return nil, err
	}
	// No statement has rows to work on: what takes long does something else. The script was
	// cut with backslashes that are letters, and must be read so: another statement could
	// hide behind one.
	err = s.Query(ctx, &path, "select set_config('search_path', $1, false) || set_config('statement_timeout', '60s', false) || set_config('standard_conforming_strings', 'on', false) as path", path[0].Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the session of the probe: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (e *ProbeDDL) session(ctx context.Context, env Env, name string) (host.SQL, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	db, err := env.Database(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	db.Name = name
	s, err := h.SQL(ctx, db)
	if err != nil {
		return nil, NoServer(e.Host, err)
	}
	return s, nil
}

// notReached is what a statement begins with, until it is run and looked at: that no lock
// was seen must never stand for one that nobody looked for.
const notReached = "the server refuses another statement"

// probe is a script on its way through the scratch database.
type probe struct {
	sql     host.SQL
	script  *ddl.Script
	results []ddl.Probed
}

// transaction runs statements that share one. First all of them in one transaction, as a
// rollout does, which is rolled back: an error shows there. Then each in one of its own,
// so that its locks are not mixed with those of the ones before.
func (p *probe) transaction(ctx context.Context, of []int) (goOn bool, err error) {
	before, err := p.relations(ctx)
	if err != nil {
		return false, err
	}
	block := p.script.Statements[of[0]].Transactional
	if block && len(of) > 1 {
		if err := p.rehearse(ctx, of); err != nil {
			return false, err
		}
	}
	for _, i := range of {
		if p.results[i].Error != nil { // seen in the rehearsal
			return false, nil
		}
		if goOn, err := p.one(ctx, i, block, before); err != nil || !goOn {
			return goOn, err
		}
	}
	return true, nil
}

// rehearse runs statements in one transaction, and takes them back.
func (p *probe) rehearse(ctx context.Context, of []int) error {
	if err := p.sql.Exec(ctx, "BEGIN"); err != nil {
		return err
	}
	for _, i := range of {
		if goOn, err := p.run(ctx, i); err != nil || !goOn {
			return errors.Join(err, p.sql.Exec(ctx, "ROLLBACK"))
		}
	}
	return p.sql.Exec(ctx, "ROLLBACK")
}

// one runs a statement for good, and looks what it has done. known are the relations from
// before its transaction.
func (p *probe) one(ctx context.Context, i int, block bool, known relations) (goOn bool, err error) {
	if why := skip(&p.script.Statements[i]); why != "" {
		p.results[i].Skipped = why
		return true, nil
	}
	before, err := p.relations(ctx)
	if err != nil {
		return false, err
	}
	if block {
		if err := p.sql.Exec(ctx, "BEGIN"); err != nil {
			return false, err
		}
	}
	goOn, err = p.run(ctx, i)
	if err != nil {
		return false, err
	}
	switch {
	case !block && !goOn:
		return false, nil
	case !block:
		return true, p.compare(ctx, i, before, known)
	case !goOn:
		return false, p.sql.Exec(ctx, "ROLLBACK")
	}
	var locks []struct {
		OID int64 `json:"oid"`
	}
	if err := p.sql.Query(ctx, &locks, postgres.OwnExclusiveLocks); err != nil {
		return false, err
	}
	for _, l := range locks {
		if r, ok := known[l.OID]; ok {
			p.results[i].Locks = append(p.results[i].Locks, r.name())
		}
	}
	slices.SortFunc(p.results[i].Locks, byName)
	if err := p.compare(ctx, i, before, known); err != nil {
		return false, err
	}
	if err := p.sql.Exec(ctx, "COMMIT"); err != nil { // a deferred constraint trigger may speak
		return p.refused(i, err)
	}
	return true, nil
}

// run runs a statement, unless it reaches beyond the scratch database.
func (p *probe) run(ctx context.Context, i int) (goOn bool, err error) {
	st := &p.script.Statements[i]
	if skip(st) != "" {
		return true, nil
	}
	if err := p.sql.Exec(ctx, st.Text); err != nil {
		return p.refused(i, err)
	}
	return true, nil
}

// skip is why a statement is not run.
func skip(st *ddl.Statement) string {
	switch {
	case st.Shared:
		return "it is for all databases of the server"
	case st.Class == ddl.Refuse:
		return "a rollout cannot do it"
	case st.Command == "REFRESH MATERIALIZED VIEW" && st.Class == ddl.None:
		// pg_dump --schema-only leaves views unpopulated, and those it refuses.
		return "the view is empty in a copy of the schema, and CONCURRENTLY wants one that is filled"
	}
	return ""
}

// refused notes what the server said against a statement.
func (p *probe) refused(i int, err error) (goOn bool, _ error) {
	var e *host.SQLError
	if !errors.As(err, &e) {
		return false, err
	}
	p.results[i].Skipped = ""
	p.results[i].Error = &ddl.ProbeError{Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint, Position: e.Position}
	return false, nil
}

// relations are those of the scratch database, by oid.
type relations map[int64]relation

type relation struct {
	OID    int64  `json:"oid"`
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	File   int64  `json:"file"`
}

func (r relation) name() ddl.Name { return ddl.Name{Schema: r.Schema, Name: r.Name} }

func (p *probe) relations(ctx context.Context) (relations, error) {
	var rows []relation
	if err := p.sql.Query(ctx, &rows, postgres.UserRelations); err != nil {
		return nil, fmt.Errorf("read pg_class: %w", err)
	}
	out := relations{}
	for _, r := range rows {
		out[r.OID] = r
	}
	return out, nil
}

// compare finds the tables and materialized views that have another file now.
func (p *probe) compare(ctx context.Context, i int, before, known relations) error {
	after, err := p.relations(ctx)
	if err != nil {
		return err
	}
	for _, oid := range slices.Sorted(maps.Keys(before)) {
		was, is := before[oid], after[oid]
		_, old := known[oid]
		if old && is.OID == oid && is.File != was.File && (was.Kind == "r" || was.Kind == "m") {
			p.results[i].Rewrites = append(p.results[i].Rewrites, was.name())
		}
	}
	slices.SortFunc(p.results[i].Rewrites, byName)
	p.results[i].Skipped = ""
	return nil
}

func byName(a, b ddl.Name) int {
	return slices.Compare([]string{a.Schema, a.Name}, []string{b.Schema, b.Name})
}
