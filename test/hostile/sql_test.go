package hostile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	pg "github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// literals must be read alike whatever the server's configuration makes of a
// backslash.
func literals(t *testing.T, l *ledger, p *postgres) {
	all := generate(*seed, *size, p.statements, everything)
	for _, conforming := range []string{"on", "off"} {
		s := l.sink("SQL literal, standard_conforming_strings " + conforming)
		p.exec(t, "set standard_conforming_strings = "+conforming)
		for _, batch := range batches(all, 500, 1<<20) {
			var sent, quoted []string
			for _, x := range batch {
				q, err := pg.QuoteLiteral(x)
				if err != nil {
					s.refused(t, x, noText(x), err)
					continue
				}
				sent, quoted = append(sent, x), append(quoted, q)
			}
			rows := p.exec(t, "select * from (values "+list(len(sent), ", ", func(i int) string { return fmt.Sprintf("(%d, %s)", i, quoted[i]) })+") v(i, s) order by i")
			for i, x := range sent {
				s.came(t, x, column(rows, i, 1))
			}
		}
		s.executed = p.executed(t)
	}
	p.exec(t, "reset standard_conforming_strings")
}

// columns: an identifier that need not be a name of the catalogs.
func columns(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("SQL identifier")
	for _, batch := range batches(generate(*seed, *size, p.statements, rarely(4, everything, noName)), 500, 1<<20) {
		var sent, quoted []string
		for _, x := range batch {
			q, err := pg.QuoteIdent(x)
			if err != nil {
				s.refused(t, x, noName(x), err)
				continue
			}
			sent, quoted = append(sent, x), append(quoted, q)
		}
		results, err := p.pg.Exec(t.Context(), "select "+list(len(sent), ", ", func(i int) string { return "1 as " + quoted[i] })).ReadAll()
		if err != nil || len(results) != 1 {
			t.Fatalf("%d results, %v", len(results), err)
		}
		for i, x := range sent {
			got := "nothing\x00"
			if i < len(results[0].FieldDescriptions) {
				got = results[0].FieldDescriptions[i].Name
			}
			s.came(t, x, got)
		}
	}
	s.executed = p.executed(t)
}

// roles are made and dropped by their quoted names.
func roles(t *testing.T, l *ledger, p *postgres) {
	s := l.sink("role name")
	all := append(generate(*seed, *size, p.statements, rarely(4, everything, noRole)), "public", "none", "pg_x")
	for _, batch := range batches(all, 500, 1<<20) {
		var sent, quoted []string
		for _, x := range batch {
			if err := pg.ValidRoleName(x); err != nil {
				s.refused(t, x, noRole(x), err)
				continue
			}
			q, err := pg.QuoteIdent(x)
			if err != nil {
				t.Fatalf("a valid role name cannot be quoted: %v", err)
			}
			sent, quoted = append(sent, x), append(quoted, q)
		}
		p.exec(t, "begin; create temp table old on commit drop as select oid from pg_roles")
		p.exec(t, list(len(sent), "; ", func(i int) string { return "create role " + quoted[i] }))
		const made = "select rolname from pg_roles where oid not in (select oid from old) order by oid"
		rows := p.exec(t, made)
		p.exec(t, list(len(sent), "; ", func(i int) string { return "drop role " + quoted[i] }))
		if left := p.exec(t, made); len(left) > 0 {
			t.Errorf("roles were not dropped: %q", left)
		}
		for i, x := range sent {
			s.came(t, x, column(rows, i, 0))
		}
		s.executed += p.executed(t)
		p.exec(t, "rollback")
	}
}

// slots: a name is taken as it is, or made of a host's name.
func slots(t *testing.T, l *ledger, p *postgres) {
	asIs, made := l.sink("slot name, given"), l.sink("slot name, made of a host name")
	version := pg.MakeVersion(15)
	all := generate(*seed, *size, p.statements, everything)
	for _, batch := range batches(all, 200, 1<<20) {
		var names []string
		var ask []*tally
		for _, x := range batch {
			if err := pg.ValidSlotName(x); err != nil {
				asIs.refused(t, x, noSlot(x), err)
			} else {
				names, ask = append(names, x), append(ask, asIs)
			}
			name := pg.SlotName(x)
			if err := pg.ValidSlotName(name); err != nil {
				reason := ""
				if x == "" {
					reason = "empty"
				}
				made.refused(t, x, reason, err)
				continue
			}
			names, ask = append(names, name), append(ask, made)
		}
		rows := p.exec(t, list(len(names), "; ", func(i int) string {
			create, err := version.CreateSlot(names[i], false, true)
			if err != nil {
				t.Fatal(err)
			}
			drop, err := version.DropSlot(names[i])
			if err != nil {
				t.Fatal(err)
			}
			return create + "; select slot_name from pg_replication_slots; " + drop
		}))
		for i, name := range names {
			ask[i].came(t, name, column(rows, 3*i+1, 0)) // one row of each statement
		}
	}
	asIs.executed = p.executed(t)
}

func column(rows [][]string, i, n int) string {
	if i < len(rows) && n < len(rows[i]) {
		return rows[i][n]
	}
	return "nothing\x00"
}

// The reasons for which a string cannot be given to a server.

func noText(s string) string {
	switch {
	case strings.Contains(s, "\x00"):
		return "NUL"
	case !utf8.ValidString(s):
		return "not UTF-8"
	}
	return ""
}

func noName(s string) string {
	switch {
	case s == "":
		return "empty"
	case len(s) > 63:
		return "too long"
	}
	return noText(s)
}

func noRole(s string) string {
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		return "control character"
	case slices.Contains([]string{"public", "none"}, s), strings.HasPrefix(s, "pg_"):
		return "reserved"
	}
	return noName(s)
}

func noSlot(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_", r) }) {
		return "character"
	}
	return noName(s)
}
