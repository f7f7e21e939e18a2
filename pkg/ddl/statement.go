package ddl

import (
	"fmt"
	"slices"
	"strings"
)

// statement classifies one piece. False: it is a mistake, and reported.
func (r *reading) statement(p piece) (Statement, bool) {
	first := p.tokens[0]
	if first.kind != word {
		r.problem(first.place, "", "a statement begins with a word such as ALTER")
		return Statement{}, false
	}
	if hint, ok := foreign(first.text); ok {
		r.problem(first.place, hint, "%s is no schema change", strings.ToUpper(first.text))
		return Statement{}, false
	}
	if at, ok := secretive(p); ok {
		r.problem(at, `psql's \password asks for it and sends a verifier alone`, "a password in a script")
		return Statement{}, false
	}
	j := classify(p, r.version, &r.made)
	if j.traceless != nil {
		r.problem(first.place, j.traceless.Hint, "%s", j.traceless.Why)
		return Statement{}, false
	}
	if !j.transactional {
		r.made.commit()
	}
	targets := append([]Name{}, j.targets...)
	for i, n := range targets {
		_, targets[i].Made = find(r.made.ever, n)
		targets[i].Optional = j.optional
	}
	for _, n := range j.gone {
		r.made.forget(n)
	}
	for _, o := range j.makes {
		r.made.add(o)
		if o.on == nil && !o.old {
			targets = append(targets, Name{Schema: o.name.Schema, Name: o.name.Name, Made: true})
		}
	}
	r.made.keys = r.made.keys || slices.ContainsFunc(p.tokens, func(t token) bool { return t.kind == word && t.text == "references" })
	if !j.transactional {
		r.made.commit()
	}
	return Statement{Text: p.text, Line: first.line, Column: first.col, Offset: p.start, Command: j.command,
		Class: j.class, Why: j.why, Transactional: j.transactional, Targets: targets, Shared: j.shared, AddsKey: j.addsKey, Warnings: append([]Warning{}, j.warnings...)}, true
}

// judgement is what is known of a statement.
type judgement struct {
	command       string
	class         Class
	why           string
	transactional bool
	targets       []Name
	makes         []object
	// readable are those of targets that can be read meanwhile.
	readable []Name
	// others: it locks relations that it does not name, or may.
	others bool
	// gone are names that mean something else afterwards, or nothing.
	gone     []Name
	warnings []Warning
	shared   bool
	// addsKey: it is ADD FOREIGN KEY.
	addsKey bool
	// optional: IF EXISTS, or OR REPLACE.
	optional bool
	// trace is of a statement that can be in no transaction; traceless says why one that
	// has to have it has none.
	trace     Trace
	traceless *Traceless
}

// worst keeps the heavier class, and its reason.
func (j *judgement) worst(c Class, why string) {
	if c > j.class || j.why == "" {
		j.class, j.why = c, why
	}
}

// unknown is for what is not on the list.
func (j *judgement) unknown() {
	j.others = true
	j.worst(Rewrite, "not known what it locks: taken for the worst")
}

func (j *judgement) warn(id, hint, format string, args ...any) {
	for _, w := range j.warnings {
		if w.ID == id {
			return
		}
	}
	j.warnings = append(j.warnings, Warning{ID: id, Text: fmt.Sprintf(format, args...), Hint: hint})
}
