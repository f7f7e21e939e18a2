package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// checked is what ddl check says, as JSON.
type checked struct {
	Version    string          `json:"version"`
	Run        string          `json:"run"`
	Statements []ddl.Statement `json:"statements"`
}

// TestDDLCheckKnowsTheClusterAndLeavesNothing is on hosts of each version of -versions,
// and of 15.
func TestDDLCheckKnowsTheClusterAndLeavesNothing(t *testing.T) {
	ownHosts(t)
	majors := strings.Fields(strings.ReplaceAll(*shared.flags.majors, "all", "10 11 12 13 14 16 17 18"))
	for _, major := range append(majors, "15") {
		t.Run(major, func(t *testing.T) {
			began := time.Now()
			defer func() { summary(t, began) }()
			s := newSite(shared, etc, 1, "ddl"+major)
			s.major = major
			s.do(t, s.ready(context.Background()))
			defer func() { s.do(t, s.lab.Down(context.Background())) }()
			s.sql(t, "h1", "postgres", "create database shop")
			s.sql(t, "h1", "postgres", "alter database shop set search_path = \"Schema of shop\", public")
			s.sql(t, "h1", "shop", shopSchema)
			databases := s.databases(t)
			t.Run("sizes, and who is in the way", func(t *testing.T) { sizesAndHolders(t, s) })
			if s.dumpsBelow(t, major) {
				t.Run("a pg_dump that is too old", func(t *testing.T) { tooOldToDump(t, s) })
				return
			}
			t.Run("the table says what the server does", func(t *testing.T) { tableAgrees(t, s) })
			t.Run("errors have their place in the file", func(t *testing.T) { errorsHavePlaces(t, s) })
			t.Run("killed in the middle", func(t *testing.T) { killedProbe(t, s) })
			if got := s.databases(t); got != databases {
				t.Errorf("databases before: %s, now: %s", databases, got)
			}
			if got := s.sql(t, "h1", "shop", "select count(*) from pg_attribute where attname like 'probe%'"); got != "0" {
				t.Errorf("the database itself was changed: %s columns", got)
			}
		})
	}
}

// dumpsBelow: the host's only pg_dump is older than its server, as in labs whose server is
// not Debian's.
func (s *site) dumpsBelow(t *testing.T, major string) bool {
	t.Helper()
	dumps, err := version(s.at(t, "h1", `ls -d /usr/lib/postgresql/*/bin/pg_dump | sed 's|/usr/lib/postgresql/||; s|/.*||' | sort -n | tail -n 1`))
	s.do(t, err)
	serves, err := version(major)
	s.do(t, err)
	return dumps < serves
}

// tooOldToDump: the probe fails, says why, leaves nothing and is in nobody's way.
func tooOldToDump(t *testing.T, s *site) {
	o := newOperator(t, s)
	databases := s.databases(t)
	for range 2 { // a run that is open would be in the way of the second one
		o.call("ddl", "check", o.script("ANALYZE"), "--database", "shop", "--probe", "--yes").exits(9).
			says("copy the schema of shop: pg_dump or psql failed", "pg_dump was not found", "check without --probe")
	}
	if got := s.databases(t); got != databases {
		t.Errorf("databases before: %s, now: %s", databases, got)
	}
}

func (s *site) databases(t *testing.T) string {
	t.Helper()
	return s.sql(t, "h1", "postgres", "select string_agg(datname, ' ' order by datname) from pg_database")
}

// script writes a file for the operator.
func (o *operator) script(text string) string {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "change.sql")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	return file
}

// shopSchema has a table for each statement of agreed that wants one of its own, and what
// a copy of a schema may trip over.
const shopSchema = `create schema "Schema of shop";
set search_path = "Schema of shop", public;
create table items (id serial primary key, a int, v varchar(10), price numeric, old int);
insert into items (a) select generate_series(1, 20000);
create table options (id int primary key, item int references items);
create index items_a on items (a);
create view cheap as select id, price from items;
create materialized view counted as select count(*) as n from items;
create unique index on counted (n);
create type mood as enum ('sad');
create domain pos as int check (value > 0);
create sequence numbers;
create function one() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger old_trigger before insert on items for each row execute procedure one();
create rule old_rule as on update to cheap do instead nothing;
create policy old_policy on items;
create table parted (k int) partition by range (k);
create table parted_1 partition of parted for values from (0) to (1);
create table parted_2 partition of parted for values from (1) to (2);
create table later (k int);
create publication everything for table items;
create table "Quoted; Table" ("a;b" int);
create role e2e_ddl;
`

// agreed are statements whose class the table and the probe must both have, each in a
// transaction of its own (VACUUM stands between them) but for what it says itself.
func agreed(major string) []string {
	list := []string{
		"ALTER TABLE items ADD COLUMN probe1 int",
		"ALTER TABLE items ADD COLUMN probe2 int DEFAULT 7 NOT NULL",
		"ALTER TABLE items ADD COLUMN probe3 timestamptz DEFAULT now()",
		"ALTER TABLE items ADD COLUMN probe4 float8 DEFAULT random()",
		"ALTER TABLE items ADD COLUMN probe5 serial",
		"ALTER TABLE items ADD COLUMN probe6 pos",
		"ALTER TABLE items ADD COLUMN probe7 int GENERATED BY DEFAULT AS IDENTITY",
		"ALTER TABLE items ADD COLUMN probe8 int DEFAULT NULL",
		"ALTER TABLE items ADD COLUMN probe9 int REFERENCES options",
		"ALTER TABLE items DROP COLUMN old",
		"ALTER TABLE items ALTER a SET DEFAULT 5",
		"ALTER TABLE items ALTER a TYPE bigint",
		"ALTER TABLE items ALTER a SET NOT NULL",
		"ALTER TABLE items ALTER a SET STATISTICS 500",
		"ALTER TABLE items ALTER a SET (n_distinct = 5)",
		"ALTER TABLE items ALTER v SET STORAGE external",
		"ALTER TABLE items SET (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_enabled = off)",
		"ALTER TABLE items RESET (autovacuum_enabled)",
		"ALTER TABLE items SET (user_catalog_table = true)",
		"ALTER TABLE items RESET (user_catalog_table)",
		"ALTER TABLE items ADD CONSTRAINT c1 CHECK (a > 0) NOT VALID",
		"ALTER TABLE items VALIDATE CONSTRAINT c1",
		"ALTER TABLE items RENAME CONSTRAINT c1 TO c2",
		"ALTER TABLE items DROP CONSTRAINT c2",
		"ALTER TABLE items ADD CONSTRAINT u1 UNIQUE (a)",
		"ALTER TABLE options ADD CONSTRAINT f1 FOREIGN KEY (item) REFERENCES items NOT VALID",
		"ALTER TABLE options VALIDATE CONSTRAINT f1",
		"ALTER TABLE options ADD FOREIGN KEY (id) REFERENCES items",
		"ALTER TABLE items DISABLE TRIGGER ALL",
		"ALTER TABLE items CLUSTER ON items_a",
		"ALTER TABLE items SET WITHOUT CLUSTER",
		"ALTER TABLE items REPLICA IDENTITY FULL",
		"ALTER TABLE items ENABLE ROW LEVEL SECURITY",
		"ALTER TABLE items OWNER TO e2e_ddl",
		"ALTER TABLE later SET UNLOGGED",
		"ALTER TABLE later RENAME TO even_later",
		"ALTER TABLE even_later RENAME TO later",
		"ALTER TABLE later RENAME COLUMN k TO kk",
		"ALTER TABLE later RENAME COLUMN kk TO k",
		"ALTER TABLE \"Quoted; Table\" ALTER \"a;b\" DROP NOT NULL",
		"CREATE INDEX items_v ON items (v)",
		"ALTER INDEX items_v RENAME TO items_w",
		"ALTER INDEX items_w SET (fillfactor = 80)",
		"REINDEX INDEX items_w",
		"REINDEX TABLE items",
		"DROP INDEX items_w",
		"CREATE TABLE made (id int REFERENCES items); ALTER TABLE made ADD c int; CREATE INDEX ON made (id)",
		"CREATE TABLE heir (x int) INHERITS (items)",
		"CREATE TABLE copied AS SELECT 1 AS a",
		"CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (3) TO (4)",
		"ALTER TABLE parted ATTACH PARTITION later FOR VALUES FROM (5) TO (6)",
		"ALTER TABLE parted DETACH PARTITION parted_1",
		"CREATE TRIGGER g BEFORE UPDATE ON items FOR EACH ROW EXECUTE PROCEDURE one()",
		"ALTER TRIGGER g ON items RENAME TO h",
		"DROP TRIGGER h ON items",
		"CREATE RULE r AS ON DELETE TO items DO ALSO (NOTIFY a; NOTIFY b)",
		"DROP RULE r ON items",
		"CREATE POLICY p ON items USING (true)",
		"ALTER POLICY p ON items TO e2e_ddl",
		"DROP POLICY p ON items",
		"CREATE VIEW more AS SELECT id FROM items",
		"CREATE OR REPLACE VIEW cheap AS SELECT id, price FROM items WHERE id > 0",
		"ALTER VIEW cheap OWNER TO e2e_ddl",
		"DROP VIEW cheap",
		"REFRESH MATERIALIZED VIEW CONCURRENTLY counted",
		"REFRESH MATERIALIZED VIEW counted",
		"CREATE SEQUENCE q",
		"ALTER SEQUENCE numbers INCREMENT 5",
		"ALTER SEQUENCE numbers RESTART",
		"ALTER SEQUENCE numbers OWNER TO e2e_ddl",
		"DROP SEQUENCE numbers",
		"CREATE STATISTICS st ON a, v FROM items",
		"ALTER PUBLICATION everything ADD TABLE options",
		"CREATE FUNCTION two() RETURNS int LANGUAGE sql AS $$ SELECT 2; $$",
		"ALTER TYPE mood RENAME VALUE 'sad' TO 'glad'",
		"CREATE TYPE pair AS (a int, b int)",
		"ALTER TYPE pair ADD ATTRIBUTE c int",
		"ALTER DOMAIN pos ADD CONSTRAINT small CHECK (value < 1000)",
		"GRANT SELECT ON items TO e2e_ddl",
		"COMMENT ON COLUMN items.a IS 'a;b'",
		"ANALYZE items",
		"CLUSTER items USING items_a",
		"LOCK TABLE items",
		"LOCK TABLE items IN EXCLUSIVE MODE",
		"TRUNCATE items CASCADE",
		"DROP TABLE made",
	}
	v, err := version(major)
	if err != nil {
		panic(err)
	}
	if v >= 12 {
		list = append(list, "ALTER TABLE items ADD COLUMN probe10 int GENERATED ALWAYS AS (id + 1) STORED",
			"ALTER TABLE parted_2 ADD FOREIGN KEY (k) REFERENCES items; ALTER TABLE parted ADD FOREIGN KEY (k) REFERENCES items")
	}
	if v >= 14 {
		list = append(list, "ALTER TABLE items ALTER v SET COMPRESSION pglz")
	}
	if v >= 18 {
		list = append(list, "ALTER TABLE items ADD COLUMN probe11 int GENERATED ALWAYS AS (id + 1)")
	}
	return list
}

func version(major string) (n int, err error) {
	_, err = fmt.Sscan(major, &n)
	return n, err
}

func tableAgrees(t *testing.T, s *site) {
	o := newOperator(t, s)
	// What cannot run in a block divides the transactions.
	file := o.script(strings.Join(agreed(s.major), ";\nVACUUM \"Quoted; Table\";\n") + ";\n")
	var r checked
	o.call("ddl", "check", file, "--database", "shop", "--probe", "--yes", "-o", "json").decode(&r)
	if r.Run == "" || r.Version != s.major {
		t.Errorf("run %q, version %q", r.Run, r.Version)
	}
	for i := range r.Statements {
		st := &r.Statements[i]
		switch {
		case st.Probed == nil:
			t.Errorf("%s: not probed", st.Text)
		case st.Probed.Error != nil:
			t.Fatalf("%s: %+v", st.Text, st.Probed.Error)
		case st.Probed.Skipped != "" && !strings.HasPrefix(st.Text, "REFRESH"):
			t.Errorf("%s: not run: %s", st.Text, st.Probed.Skipped)
		case st.Differs():
			t.Errorf("%s: %s by the table, and %s: %s", st.Text, st.Probed.Table, st.Class, st.Why)
		}
	}
	// And where the table cannot know, the probe does.
	file = o.script("ALTER TABLE items ALTER v TYPE varchar(20);\nALTER TABLE items ADD probe1 mood;\nCREATE ROLE e2e_more;\nDROP SCHEMA public CASCADE;\n")
	o.call("ddl", "check", file, "--database", "shop", "--probe", "--yes").exits(0).
		says("probe: 1: lock, where the table has rewrite", "probe: 2: lock, where the table has rewrite", "probe: 3: not run: it is for all databases of the server", "probe: 4: none, where the table has rewrite")
	if got := s.sql(t, "h1", "postgres", "select count(*) from pg_roles where rolname = 'e2e_more'"); got != "0" {
		t.Error("the probe made a role")
	}
}

func sizesAndHolders(t *testing.T, s *site) {
	o := newOperator(t, s)
	s.at(t, "h1", `$asp psql -qX -d shop -c 'begin; lock table "Schema of shop".items in share mode; select pg_sleep(600)' >/dev/null 2>&1 &`)
	defer s.sql(t, "h1", "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()")
	s.eventually(t, "a holder", func() bool {
		return s.sql(t, "h1", "shop", "select count(*) from pg_locks where mode = 'ShareLock'") == "1"
	})
	// Somebody has locked this one against reads: its size cannot be had, and he is named.
	s.at(t, "h1", `$asp psql -qX -d shop -c 'begin; lock table "Schema of shop".options; select pg_sleep(600)' >/dev/null 2>&1 &`)
	s.eventually(t, "another holder", func() bool {
		return s.sql(t, "h1", "shop", "select count(*) from pg_locks where mode = 'AccessExclusiveLock'") == "1"
	})
	o.call("ddl", "check", o.script("ALTER TABLE options ADD a int"), "--database", "shop").exits(0).says("postgres (AccessExclusiveLock, active")
	was := s.before(t, strict)
	o.call("ddl", "check", o.script("ALTER TABLE items ALTER a TYPE bigint; DROP TABLE IF EXISTS gone"), "--database", "shop").exits(0).
		says(`"Schema of shop".items`, "20000", "postgres (ShareLock, active", "not there")
	o.call("ddl", "check", o.script("ANALYZE;\n DROP VIEW missing"), "--database", "shop").exits(3).says("change.sql:2:2: database shop has no relation missing")
	o.call("ddl", "check", o.script("ANALYZE"), "--database", "nowhere").exits(64).says(`it has no database "nowhere"`)
	// Without a terminal and --yes nothing is done; a dry run shows what would be.
	o.call("ddl", "check", o.script("ANALYZE"), "--database", "shop", "--probe").exits(6)
	o.call("ddl", "check", o.script("ANALYZE"), "--database", "shop", "--probe", "--dry-run").exits(0).says("create a scratch database", "copy the schema of shop", "run 1 statement of", "drop the scratch database")
	s.unchanged(t, was, strict)
}

func errorsHavePlaces(t *testing.T, s *site) {
	o := newOperator(t, s)
	for text, want := range map[string]string{
		"ANALYZE;\n\nALTER TABLE items\n  ADD COLUMN probe1 itn;":                   `change.sql:4:21: the server: type "itn" does not exist (SQLSTATE 42704)`,
		"-- ü\n/* ü */ ALTER TABLE items ALTER TABLE;\nANALYZE":                     `change.sql:2:33: the server: syntax error at or near "TABLE" (SQLSTATE 42601)`,
		"ALTER TABLE items ADD COLUMN probe1 int;\nALTER TABLE items DROP probe2;":  `change.sql:2:1: the server: column "probe2" of relation "items" does not exist (SQLSTATE 42703)`,
		"VACUUM items;\nALTER TABLE items ADD CHECK (probe1 > 0);\nANALYZE":         `change.sql:2:1: the server: column "probe1" does not exist (SQLSTATE 42703)`,
		"CREATE INDEX CONCURRENTLY i ON items (a);\nCREATE INDEX i ON options (id)": `change.sql:2:1: the server: relation "i" already exists (SQLSTATE 42P07)`,
	} {
		o.call("ddl", "check", o.script(text), "--database", "shop", "--probe", "--yes").exits(3).says(want)
	}
}

// killedProbe: the tool dies while the scratch database is there. The same command again
// makes the probe anew, and takes away what was left.
func killedProbe(t *testing.T, s *site) {
	args := func(o *operator) []string {
		return []string{"ddl", "check", o.script("ALTER TABLE items ADD COLUMN probe1 int"), "--database", "shop", "--probe", "--yes"}
	}
	for _, at := range []string{"copy-schema", "probe-ddl"} {
		o := newOperator(t, s)
		args := args(o)
		c := o.start(args...)
		o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Intent && r.Effect == at })
		c.kill()
		if !strings.Contains(s.databases(t), "pgrepctl_scratch_") {
			t.Fatalf("killed at %s, it left nothing: %s", at, s.databases(t))
		}
		o.call(args...).exits(0).says("lock")
		if strings.Contains(s.databases(t), "pgrepctl_scratch_") {
			t.Errorf("killed at %s: left is %s", at, s.databases(t))
		}
	}
	o := newOperator(t, s)
	// Nobody knows of this one any more: its machine is gone, and its journal.
	s.sql(t, "h1", "postgres", "create database pgrepctl_scratch_20260101t000000z_beef")
	o.call(args(o)...).exits(0).says("dropped database pgrepctl_scratch_20260101t000000z_beef, which a run that died has left")
}
