package ddl

import "slices"

// Probed is what one statement did in a scratch copy of the schema.
type Probed struct {
	// Table is the class that the table gives; that of the statement is the probe's.
	Table Class `json:"table"`
	// Locks are the relations that were there before and that it took
	// AccessExclusiveLock on. A statement that runs outside of a transaction block has
	// let go of them before anybody could look.
	Locks []Name `json:"locks"`
	// Rewrites are the tables and materialized views that it wrote anew.
	Rewrites []Name `json:"rewrites"`
	// Skipped says why it was not run.
	Skipped string `json:"skipped,omitempty"`
	// Error is what the server said against it. What follows was not run.
	Error *ProbeError `json:"error,omitempty"`
}

// ProbeError is a refusal by the server.
type ProbeError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Position is that of a character of the statement, from 1; 0 when the server names
	// none.
	Position int `json:"position,omitempty"`
	Line     int `json:"line"` // in the file; of the statement when there is no position
	Column   int `json:"column"`
}

// Take puts the results of a probe, one a statement, beside what the table says. Where
// they differ, the probe counts.
func (s *Script) Take(results []Probed) {
	for i := range min(len(results), len(s.Statements)) {
		st, p := &s.Statements[i], results[i]
		p.Table = st.Class
		st.Probed = &p
		if p.Error != nil {
			p.Error.Line, p.Error.Column = st.at(p.Error.Position)
			continue
		}
		if p.Skipped != "" {
			continue
		}
		class, why := p.class(st)
		if class != st.Class {
			st.Class, st.Why = class, why
		}
	}
}

// class is what the probe saw. Locks of what runs outside of a transaction block it could
// not see.
func (p *Probed) class(st *Statement) (Class, string) {
	switch {
	case len(p.Rewrites) > 0 && st.Command != "TRUNCATE TABLE":
		return Rewrite, "the probe saw it write " + join(p.Rewrites) + " anew"
	case !st.Transactional, st.Class == New:
		return st.Class, st.Why
	case len(p.Locks) > 0:
		return Lock, "the probe saw it lock " + join(p.Locks) + ", and write no table anew"
	}
	return None, "the probe saw no lock that replay repeats"
}

// Differs: the probe saw another class than the table has.
func (st *Statement) Differs() bool {
	p := st.Probed
	return p != nil && p.Error == nil && p.Skipped == "" && p.Table != st.Class
}

// Unnamed are the relations that the statement locked and that the script does not name.
func (st *Statement) Unnamed() []Name {
	if st.Probed == nil {
		return nil
	}
	var out []Name
	for _, n := range st.Probed.Locks {
		if !slices.ContainsFunc(st.Targets, func(t Name) bool { return t.Name == n.Name && (t.Schema == "" || t.Schema == n.Schema) }) {
			out = append(out, n)
		}
	}
	return out
}

// at is the place in the file of a character of the statement.
func (st *Statement) at(position int) (line, column int) {
	line, column = st.Line, st.Column
	for i, c := range []rune(st.Text) {
		if i+1 >= position {
			break
		}
		if c == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return line, column
}

func join(names []Name) string {
	out := ""
	for i, n := range names {
		if i > 0 {
			out += ", "
		}
		out += n.String()
	}
	return out
}

// Transactions are the statements by transaction: those that run in a block and follow one
// another share one, every other one is alone.
func (s *Script) Transactions() [][]int {
	var all [][]int
	for i, st := range s.Statements {
		last := len(all) - 1
		if i > 0 && st.Transactional && s.Statements[i-1].Transactional {
			all[last] = append(all[last], i)
			continue
		}
		all = append(all, []int{i})
	}
	return all
}
