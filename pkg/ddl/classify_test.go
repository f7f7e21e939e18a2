package ddl

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// one is the classification of a script of one statement.
func one(t *testing.T, sql string, v postgres.Version) Statement {
	t.Helper()
	s, err := Parse("x.sql", []byte(sql), v)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s.Statements[len(s.Statements)-1]
}

// TestClassesAsMeasured has every statement of the measurement on 15 (pg_waldump -r Standby).
func TestClassesAsMeasured(t *testing.T) {
	t.Parallel()
	const apart = false
	for _, c := range []struct {
		sql     string
		class   Class
		command string
		trans   bool
		target  string
	}{
		{"CREATE INDEX i ON t (a)", None, "CREATE INDEX", true, "t"},
		{"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t USING btree (lower(a)) WHERE a > 1", None, "CREATE INDEX CONCURRENTLY", apart, "s.t"},
		{"CREATE INDEX ON ONLY t (a)", None, "CREATE INDEX", true, "t"},
		{"CREATE TABLE t (a int REFERENCES o (id))", None, "CREATE TABLE", true, "t"},
		{"CREATE TABLE t (b int) INHERITS (o)", None, "CREATE TABLE", true, "t"},
		{"CREATE TABLE t AS SELECT 1 AS a", None, "CREATE TABLE AS", true, "t"},
		{"ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES o", None, "ALTER TABLE", true, "t o"},
		{"ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o (id) NOT VALID", None, "ALTER TABLE", true, "t o"},
		{"ALTER TABLE t VALIDATE CONSTRAINT f", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER COLUMN a SET STATISTICS 500", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER a SET (n_distinct = 5)", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_enabled = off)", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t RESET (autovacuum_vacuum_scale_factor)", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t CLUSTER ON i", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t SET WITHOUT CLUSTER", None, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t DISABLE TRIGGER ALL", None, "ALTER TABLE", true, "t"},
		{"CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", None, "CREATE TRIGGER", true, "t"},
		{"ALTER INDEX i RENAME TO j", None, "ALTER INDEX", true, "i"},
		{"ALTER INDEX i SET (fillfactor = 70)", None, "ALTER INDEX", true, "i"},
		{"GRANT SELECT ON t TO PUBLIC", None, "GRANT", true, ""},
		{"REVOKE ALL ON t FROM r", None, "REVOKE", true, ""},
		{"COMMENT ON TABLE t IS 'it''s; a table'", None, "COMMENT ON", true, ""},
		{"CREATE STATISTICS st ON a, b FROM t", None, "CREATE STATISTICS", true, ""},
		{"CREATE PUBLICATION p FOR TABLE t", None, "CREATE PUBLICATION", true, ""},
		{"CREATE SEQUENCE q", None, "CREATE SEQUENCE", true, "q"},
		{"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$", None, "CREATE FUNCTION", true, ""},
		{"CREATE EXTENSION IF NOT EXISTS pg_trgm", None, "CREATE EXTENSION", true, ""},
		{"ALTER TYPE e ADD VALUE 'x'", None, "ALTER TYPE", true, ""},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY m", None, "REFRESH MATERIALIZED VIEW", true, "m"},
		{"ANALYZE t", None, "ANALYZE", true, ""},
		{"VACUUM (TRUNCATE false) t", None, "VACUUM", apart, "t"},
		{"LOCK TABLE t IN EXCLUSIVE MODE", None, "LOCK TABLE", true, "t"},

		{"DROP INDEX CONCURRENTLY i", New, "DROP INDEX CONCURRENTLY", apart, "i"},
		{"REINDEX INDEX CONCURRENTLY i", New, "REINDEX CONCURRENTLY", apart, "i"},
		{"REINDEX (CONCURRENTLY) TABLE t", New, "REINDEX CONCURRENTLY", apart, "t"},

		{"ALTER TABLE t ADD COLUMN c int", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD c int DEFAULT 7", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE ONLY t ADD COLUMN c timestamptz NOT NULL DEFAULT now()", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t DROP COLUMN c", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER c SET DEFAULT random()", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER COLUMN c DROP DEFAULT", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t RENAME TO u", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t RENAME COLUMN a TO b", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t SET SCHEMA s", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t OWNER TO r", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER c SET STORAGE external", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD CHECK (a > 0)", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER c SET NOT NULL", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER c DROP NOT NULL", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t DROP CONSTRAINT k", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD UNIQUE (a)", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD CONSTRAINT u UNIQUE USING INDEX i", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ENABLE ROW LEVEL SECURITY", Lock, "ALTER TABLE", true, "t"},
		{"CREATE POLICY p ON t USING (true)", Lock, "CREATE POLICY", true, "t"},
		{"ALTER TABLE t REPLICA IDENTITY FULL", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t SET (user_catalog_table = true)", Lock, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ATTACH PARTITION p FOR VALUES FROM (1) TO (2)", Lock, "ALTER TABLE", true, "t p"},
		{"ALTER TABLE t DETACH PARTITION p", Lock, "ALTER TABLE", true, "t p"},
		// Measured without a foreign key that references the parent: the table that has one is locked.
		{"ALTER TABLE t DETACH PARTITION p CONCURRENTLY", Lock, "ALTER TABLE DETACH PARTITION CONCURRENTLY", apart, "t p"},
		{"CREATE TABLE p PARTITION OF t FOR VALUES IN ('a')", Lock, "CREATE TABLE", true, "t p"},
		{"DROP INDEX i", Lock, "DROP INDEX", true, "i"},
		{"REINDEX INDEX i", Lock, "REINDEX", true, "i"},
		{"REINDEX TABLE s.t", Lock, "REINDEX", true, "s.t"},
		{"DROP TRIGGER g ON t", Lock, "DROP TRIGGER", true, "t"},
		{"CREATE RULE r AS ON INSERT TO t DO ALSO (NOTIFY a; NOTIFY b)", Lock, "CREATE RULE", true, "t"},
		{"CREATE OR REPLACE VIEW v AS SELECT 1", Lock, "CREATE VIEW", true, "v"},
		{"DROP VIEW v", Lock, "DROP VIEW", true, "v"},
		{"DROP SEQUENCE q", Lock, "DROP SEQUENCE", true, "q"},
		{"DROP TABLE IF EXISTS t, s.u", Lock, "DROP TABLE", true, "t s.u"},
		{"TRUNCATE t", Lock, "TRUNCATE TABLE", true, "t"},
		{"LOCK TABLE t", Lock, "LOCK TABLE", true, "t"},
		{"VACUUM t", Lock, "VACUUM", apart, "t"},

		{"ALTER TABLE t ADD COLUMN f float8 DEFAULT random()", Rewrite, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (a + 1) STORED", Rewrite, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t ALTER COLUMN a TYPE bigint", Rewrite, "ALTER TABLE", true, "t"},
		{"ALTER TABLE t SET UNLOGGED", Rewrite, "ALTER TABLE", true, "t"},
		{"VACUUM FULL t", Rewrite, "VACUUM", apart, "t"},
		{"VACUUM (FULL, ANALYZE) t", Rewrite, "VACUUM", apart, "t"},
		{"CLUSTER t USING i", Rewrite, "CLUSTER", true, "t"},
		{"CLUSTER", Rewrite, "CLUSTER", apart, ""},
		{"REFRESH MATERIALIZED VIEW m", Rewrite, "REFRESH MATERIALIZED VIEW", true, "m"},
		{"FROB THE TABLE t", Rewrite, "FROB THE", true, ""},
		{"ALTER TABLE t FROB", Rewrite, "ALTER TABLE", true, "t"},

		{"DROP DATABASE d", Refuse, "DROP DATABASE", apart, ""},
		{"ALTER DATABASE d SET TABLESPACE x", Refuse, "ALTER DATABASE", true, ""},
		{"ALTER TABLE t SET TABLESPACE x", Refuse, "ALTER TABLE", true, "t"},
	} {
		s := one(t, c.sql, postgres.MakeVersion(15))
		names := ""
		for i, n := range s.Targets {
			if i > 0 {
				names += " "
			}
			names += n.String()
		}
		if s.Class != c.class || s.Command != c.command || s.Transactional != c.trans || names != c.target || s.Why == "" {
			t.Errorf("%s\n got %s %q transactional=%v targets=%q why=%q\nwant %s %q transactional=%v targets=%q",
				c.sql, s.Class, s.Command, s.Transactional, names, s.Why, c.class, c.command, c.trans, c.target)
		}
	}
}
