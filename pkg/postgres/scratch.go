package postgres

import (
	"fmt"
	"strings"
)

// scratchPrefix begins the names of databases that a run makes for itself.
const scratchPrefix = "pgrepctl_scratch_"

// ScratchName is the name of the scratch database of a run.
func ScratchName(run string) string {
	return scratchPrefix + SlotName(run)[:min(len(SlotName(run)), NameLen-len(scratchPrefix))]
}

// ScratchDatabases finds them. Who holds the cluster lock finds those of runs that died.
const ScratchDatabases = `select datname as name from pg_database where datname ~ '^pgrepctl_scratch_[a-z0-9_]+$' order by 1`

// DatabaseLike reads what a copy of the database $1 has to be like. The columns of
// pg_database for the locale differ from version to version: absent ones stay empty.
const DatabaseLike = `select pg_encoding_to_char(d.encoding) as encoding_name, d.* from pg_database d where d.datname = $1`

// Locale is how a database sorts, as a row of DatabaseLike.
type Locale struct {
	Encoding string `json:"encoding_name"`
	Collate  string `json:"datcollate"`
	CType    string `json:"datctype"`
	Provider string `json:"datlocprovider"` // 15+: c, i or b
	ICU      string `json:"daticulocale"`   // 15 and 16
	Locale   string `json:"datlocale"`      // 17+
	Rules    string `json:"daticurules"`    // 16+
}

// CreateDatabase is the statement that makes an empty database of that locale.
func CreateDatabase(name string, l Locale) (string, error) {
	id, err := QuoteIdent(name)
	if err != nil {
		return "", err
	}
	sql := "CREATE DATABASE " + id + " TEMPLATE template0"
	add := func(word, value string) {
		if err != nil || value == "" {
			return
		}
		var q string
		q, err = QuoteLiteral(value)
		sql += " " + word + " " + strings.TrimSpace(q)
	}
	add("ENCODING", l.Encoding)
	add("LC_COLLATE", l.Collate)
	add("LC_CTYPE", l.CType)
	locale := l.Locale
	if locale == "" {
		locale = l.ICU
	}
	switch l.Provider {
	case "i":
		sql += " LOCALE_PROVIDER icu"
		add("ICU_LOCALE", locale)
		add("ICU_RULES", l.Rules)
	case "b":
		sql += " LOCALE_PROVIDER builtin"
		add("BUILTIN_LOCALE", locale)
	}
	if err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return sql, nil
}

// DropDatabase are the statements that drop one, and end the sessions in it before: those
// of a tool that died. DROP DATABASE waits for them to go. (FORCE is of 13 and later.)
func DropDatabase(name string) ([]string, error) {
	id, err := QuoteIdent(name)
	if err != nil {
		return nil, err
	}
	text, err := QuoteLiteral(name)
	if err != nil {
		return nil, err
	}
	return []string{
		"select pg_terminate_backend(pid) from pg_stat_activity where datname = " + strings.TrimSpace(text) + " and pid <> pg_backend_pid()",
		"DROP DATABASE IF EXISTS " + id,
	}, nil
}

// UserRelations are all relations but those of the system, with the number of the file
// that each has.
const UserRelations = `select c.oid::bigint as oid, n.nspname as schema, c.relname as name, c.relkind as kind, c.relfilenode::bigint as file
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_(toast_)?temp_'`

// OwnExclusiveLocks are the relations that this session has locked in the only mode that
// a standby repeats.
const OwnExclusiveLocks = `select relation::bigint as oid from pg_locks
where pid = pg_backend_pid() and locktype = 'relation' and mode = 'AccessExclusiveLock' and granted
and database = (select oid from pg_database where datname = current_database())`
