package postgres

import "fmt"

// Where in the catalogs is seen whether a schema change has happened that can be in no
// transaction. Such a query has no row if there is no such thing; else one: oid, and
// whole, whether it is neither half made nor half taken away.

// IndexOn looks for the index of a table (oid) that has this name.
func IndexOn(table int64, name string) (string, error) {
	text, err := QuoteLiteral(name)
	if err != nil {
		return "", fmt.Errorf("name of an index: %w", err)
	}
	return fmt.Sprintf("select c.oid::int8 as oid, i.indisvalid as whole from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = %d and c.relname = %s", table, text), nil
}

// IndexByOID looks for an index.
func IndexByOID(oid int64) string {
	return fmt.Sprintf("select indexrelid::int8 as oid, indisvalid as whole from pg_index where indexrelid = %d", oid)
}

// PartitionOf looks for a partition in its parent (oids). One that is detached
// concurrently stays there, pending, until its last readers have gone.
func (v Version) PartitionOf(parent, partition int64) string {
	whole := "true"
	if v.AtLeast(14) {
		whole = "not inhdetachpending"
	}
	return fmt.Sprintf("select inhrelid::int8 as oid, %s as whole from pg_inherits where inhparent = %d and inhrelid = %d", whole, parent, partition)
}

// ValueOf looks for a value of an enum (oid).
func ValueOf(enum int64, value string) (string, error) {
	text, err := QuoteLiteral(value)
	if err != nil {
		return "", fmt.Errorf("value of an enum: %w", err)
	}
	return fmt.Sprintf("select oid::int8 as oid, true as whole from pg_enum where enumtypid = %d and enumlabel = %s", enum, text), nil
}

// RelationNamed looks for the relation that a session finds by a name, written as SQL: oid,
// and name, quoted and with its schema. No row: it finds none.
func RelationNamed(sql string) (string, error) {
	text, err := QuoteLiteral(sql)
	if err != nil {
		return "", fmt.Errorf("name of a relation: %w", err)
	}
	// A literal: to_regclass and to_regtype take a cstring before 9.6, and a text since.
	return "select c.oid::int8 as oid, format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass(" + text + ")::oid", nil
}

// TypeNamed is the same for a type.
func TypeNamed(sql string) (string, error) {
	text, err := QuoteLiteral(sql)
	if err != nil {
		return "", fmt.Errorf("name of a type: %w", err)
	}
	return "select t.oid::int8 as oid, format('%I.%I', n.nspname, t.typname) as name from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.oid = to_regtype(" + text + ")::oid", nil
}
