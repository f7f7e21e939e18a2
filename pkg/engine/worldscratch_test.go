package engine_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// The scratch databases of the world, by name; true: with a schema.
var (
	createScratch = regexp.MustCompile(`^CREATE DATABASE "(pgrepctl_scratch_\w+)" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'$`)
	dropScratch   = regexp.MustCompile(`^DROP DATABASE IF EXISTS "(pgrepctl_scratch_\w+)"$`)
	endSessions   = regexp.MustCompile(`^select pg_terminate_backend\(pid\) from pg_stat_activity where datname = '(pgrepctl_scratch_\w+)' and pid <> pg_backend_pid\(\)$`)
)

// scratchAct is what a statement of the probe does; ok is false for all others.
func (s *sqlSession) scratchAct(sql string) (act func(), err error, ok bool) {
	w := s.m.w
	if g := createScratch.FindStringSubmatch(sql); g != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if _, there := w.scratch[g[1]]; there {
			return nil, &host.SQLError{Code: "42P04", Message: "database exists"}, true
		}
		return func() { w.scratch[g[1]] = false }, nil, true
	}
	if g := dropScratch.FindStringSubmatch(sql); g != nil {
		return func() { delete(w.scratch, g[1]) }, nil, true
	}
	if endSessions.MatchString(sql) || strings.HasPrefix(sql, "ALTER TABLE items ") {
		return func() {}, nil, true
	}
	return nil, nil, false
}

// scratchRows answers what the probe asks. w.mu is held.
func (s *sqlSession) scratchRows(sql string, args []any) ([]row, bool) {
	w := s.m.w
	switch {
	case strings.HasPrefix(sql, "select pg_encoding_to_char"):
		if args[0] != "shop" {
			return nil, true
		}
		return []row{{"encoding_name": "UTF8", "datcollate": "C", "datctype": "C", "datlocprovider": "c", "datlocale": nil}}, true
	case strings.Contains(sql, `from pg_database where datname ~ '^pgrepctl_scratch_`):
		rows := []row{}
		for name := range w.scratch {
			rows = append(rows, row{"name": name})
		}
		slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a["name"].(string), b["name"].(string)) })
		return rows, true
	case strings.HasPrefix(sql, "select current_setting('search_path')"), strings.HasPrefix(sql, "select set_config('search_path'"):
		return []row{{"path": `"$user", public`}}, true
	case strings.HasPrefix(sql, "select c.oid::bigint as oid, n.nspname as schema"):
		return []row{{"oid": 16400, "schema": "public", "name": "items", "kind": "r", "file": 16400}}, true
	case strings.HasPrefix(sql, "select relation::bigint as oid from pg_locks"):
		return []row{{"oid": 16400}}, true
	}
	return nil, false
}

// copySchema is pg_dump and psql, from shop into a scratch database.
func (m *machine) copySchema(argv []string) error {
	return m.w.change(m.name+": copy the schema", func() {
		for name := range m.w.scratch {
			if strings.HasSuffix(argv[7], " dbname="+name) || strings.Contains(argv[7], " dbname="+name+" ") {
				m.w.scratch[name] = true
				return
			}
		}
		m.w.t.Errorf("%s copies a schema to %s, and there are %v", m.name, argv[7], m.w.scratch)
	})
}
