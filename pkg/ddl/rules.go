package ddl

// rule is what is known of statements that begin with certain words: enough where the
// words alone decide.
type rule struct {
	words string
	class Class
	why   string
	// names: the relations that follow the words are what it acts on.
	names bool
	// apart: it cannot run in a transaction block.
	apart bool
}

const (
	noLock     = "no lock that replay repeats"
	makesNew   = "makes something new: nobody reads it yet"
	shortLock  = "locks the relation against reads, for a moment"
	dependents = "what depends on it goes too, and cannot be seen offline: taken for the worst"
)

// rules is the allow-list. Measured on 15 by reading what WAL a statement writes
// (pg_waldump -r Standby); what a class costs is in docs/ddl.md. The longest match counts.
func rules() []rule {
	return []rule{
		{words: "create sequence", why: makesNew},
		{words: "create function", why: noLock}, {words: "create procedure", why: noLock},
		{words: "create aggregate", why: noLock}, {words: "create operator", why: noLock},
		{words: "create type", why: makesNew}, {words: "create domain", why: makesNew},
		{words: "create cast", why: noLock}, {words: "create collation", why: noLock},
		{words: "create conversion", why: noLock}, {words: "create default conversion", why: noLock},
		{words: "create text search", why: noLock}, {words: "create transform", why: noLock},
		{words: "create language", why: noLock}, {words: "create trusted language", why: noLock},
		{words: "create procedural language", why: noLock}, {words: "create trusted procedural language", why: noLock},
		{words: "create extension", why: noLock}, {words: "create access method", why: noLock},
		{words: "create event trigger", why: noLock}, {words: "create statistics", why: noLock},
		{words: "create publication", why: noLock}, {words: "create server", why: noLock},
		{words: "create foreign data wrapper", why: noLock}, {words: "create user mapping", why: noLock},
		{words: "create role", why: noLock}, {words: "create user", why: noLock}, {words: "create group", why: noLock},

		{words: "alter function", why: noLock}, {words: "alter procedure", why: noLock}, {words: "alter routine", why: noLock},
		{words: "alter aggregate", why: noLock}, {words: "alter operator", why: noLock}, {words: "alter domain", why: noLock},
		{words: "alter collation", why: noLock}, {words: "alter conversion", why: noLock}, {words: "alter text search", why: noLock},
		{words: "alter language", why: noLock}, {words: "alter procedural language", why: noLock},
		{words: "alter event trigger", why: noLock}, {words: "alter statistics", why: noLock},
		{words: "alter publication", why: noLock}, {words: "alter server", why: noLock},
		{words: "alter foreign data wrapper", why: noLock}, {words: "alter user mapping", why: noLock},
		{words: "alter default privileges", why: noLock}, {words: "alter large object", why: noLock},
		{words: "alter schema", why: noLock},
		{words: "alter role", why: noLock}, {words: "alter user", why: noLock}, {words: "alter group", why: noLock},

		{words: "drop function", why: noLock}, {words: "drop procedure", why: noLock}, {words: "drop routine", why: noLock},
		{words: "drop aggregate", why: noLock}, {words: "drop operator", why: noLock}, {words: "drop domain", why: noLock},
		{words: "drop cast", why: noLock}, {words: "drop collation", why: noLock}, {words: "drop conversion", why: noLock},
		{words: "drop text search", why: noLock}, {words: "drop transform", why: noLock}, {words: "drop language", why: noLock},
		{words: "drop access method", why: noLock}, {words: "drop event trigger", why: noLock},
		{words: "drop statistics", why: noLock}, {words: "drop publication", why: noLock}, {words: "drop server", why: noLock},
		{words: "drop foreign data wrapper", why: noLock}, {words: "drop user mapping", why: noLock},
		{words: "drop schema", why: noLock},
		{words: "drop role", why: noLock}, {words: "drop user", why: noLock}, {words: "drop group", why: noLock},
		{words: "drop type", class: Lock, why: "a composite type has a relation of its own, which is locked"},
		{words: "drop owned", class: Rewrite, why: dependents},
		{words: "drop extension", class: Rewrite, why: dependents},
		{words: "drop table", class: Lock, why: "locks the table, and those that its foreign keys name, against reads", names: true},
		{words: "drop view", class: Lock, why: shortLock, names: true},
		{words: "drop materialized view", class: Lock, why: shortLock, names: true},
		{words: "drop foreign table", class: Lock, why: shortLock, names: true},
		{words: "drop sequence", class: Lock, why: shortLock, names: true},

		{words: "reassign owned", class: Rewrite, why: "locks every relation that changes hands, and cannot be seen offline: taken for the worst"},
		{words: "grant", why: noLock}, {words: "revoke", why: noLock}, {words: "comment on", why: noLock},
		{words: "security label", why: noLock}, {words: "import foreign schema", why: makesNew},
		{words: "analyze", why: noLock}, {words: "analyse", why: noLock},

		{words: "create database", class: Refuse, why: "another database: createdb makes one", apart: true},
		{words: "alter database", class: Refuse, why: "a move to another tablespace ends every session on the standbys, and settings are for all: do it by hand"},
		{words: "drop database", class: Refuse, why: "ends every session of the database on the standbys: do it by hand", apart: true},
		{words: "create tablespace", class: Refuse, why: "its directory has to exist on every host first: do it by hand", apart: true},
		{words: "alter tablespace", class: Refuse, why: "it is for all databases of the server: do it by hand"},
		{words: "drop tablespace", class: Refuse, why: "ends sessions on the standbys that have temporary files there: do it by hand", apart: true},
		{words: "alter system", class: Refuse, why: "a setting of one server: the inventory's settings, and pgrepctl apply", apart: true},
		{words: "create subscription", class: Refuse, why: "starts to copy data from another server: do it by hand", apart: true},
		{words: "alter subscription", class: Refuse, why: "another server takes part in it: do it by hand", apart: true},
		{words: "drop subscription", class: Refuse, why: "another server takes part in it: do it by hand", apart: true},
	}
}
