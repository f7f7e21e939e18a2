package ddl

import (
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// classifier is the classification of one statement.
type classifier struct {
	cursor
	judgement
	source  piece
	version postgres.Version
	made    *made
}

// atLeast: the server is known to be so new. Of version 0 nothing is known.
func (c *classifier) atLeast(parts ...int) bool {
	return c.version != 0 && c.version.AtLeast(parts...)
}

// before: the server is known to be older.
func (c *classifier) before(parts ...int) bool {
	return c.version != 0 && !c.version.AtLeast(parts...)
}

func classify(p piece, v postgres.Version, m *made) judgement {
	c := &classifier{cursor: cursor{tokens: p.tokens}, source: p, version: v, made: m}
	c.transactional = true
	if !c.special() {
		c.byRule()
	}
	if c.before(10) && c.class == None && strings.HasPrefix(c.command, "ALTER ") && len(c.targets) > 0 {
		c.class, c.why = Lock, "before 10, many forms of ALTER lock against reads: taken for the worst of them"
	}
	if (c.class == Lock || c.class == Rewrite) && c.onlyNew() {
		c.class, c.why = None, "only on what this script made just before: nobody reads it yet"
	}
	return c.judgement
}

// onlyNew: all that it locks was made in the same transaction, which it can be part of.
func (c *classifier) onlyNew() bool {
	locked := 0
	for _, t := range c.targets {
		switch {
		case c.made.isNew(t):
			locked++
		case !slices.Contains(c.readable, t):
			return false
		}
	}
	return locked > 0 && !c.others && c.transactional
}

// special are the statements whose words alone do not decide.
func (c *classifier) special() bool {
	switch {
	case c.accept("create"):
		c.command = "CREATE"
		return c.create()
	case c.accept("alter"):
		return c.alter()
	case c.accept("drop"):
		return c.drop()
	case c.accept("truncate"):
		c.truncate()
	case c.accept("lock"):
		c.lock()
	case c.accept("reindex"):
		c.reindex()
	case c.accept("refresh materialized view"):
		c.refresh()
	case c.accept("cluster"):
		c.cluster()
	case c.accept("vacuum"):
		c.vacuum()
	default:
		return false
	}
	return true
}

// byRule looks the statement up in the allow-list.
func (c *classifier) byRule() {
	c.i = 0
	var found rule
	replace := cursor{tokens: c.tokens}
	if replace.accept("create or replace") { // OR REPLACE locks nothing more of what has no relation
		c.cursor = cursor{tokens: append([]token{c.tokens[0]}, c.tokens[3:]...)}
	}
	for _, r := range rules() {
		if len(r.words) > len(found.words) && c.at(r.words) {
			found = r
		}
	}
	if found.words == "" {
		c.command = c.firstWords()
		c.unknown()
		return
	}
	c.accept(found.words)
	c.command = strings.ToUpper(found.words)
	c.transactional = !found.apart
	c.worst(found.class, found.why)
	if found.names {
		c.optional = c.accept("if exists")
		c.targets, _ = c.names()
		c.gone = c.targets
	}
	if strings.HasPrefix(found.words, "drop ") && has(c.tokens, "cascade") {
		c.worst(Rewrite, dependents)
		if found.names { // the tables that are named are the most of it
			c.class, c.why = Lock, "locks the relation and all that depends on it, which cannot be seen offline"
		}
	}
	c.others = c.others || found.words == "drop table" || has(c.tokens, "cascade")
	c.shared = c.isShared(found.words)
	c.note(found.words)
}

// isShared: the statement is about what is no part of a database.
func (c *classifier) isShared(words string) bool {
	verb, what, _ := strings.Cut(words, " ")
	switch what {
	case "role", "user", "group", "owned": // DROP OWNED takes away rights on the databases too
		return true
	}
	if verb != "grant" && verb != "revoke" && verb != "comment" && verb != "security" {
		return false
	}
	object, ok := after(c.tokens, "on")
	on := cursor{tokens: object}
	_, shared := on.any("role", "database", "tablespace", "subscription", "parameter")
	return shared || !ok // GRANT role TO role
}

// firstWords are the words that a statement of which nothing is known begins with.
func (c *classifier) firstWords() string {
	var words []string
	for i := 0; i < 2 && c.peek(i).kind == word; i++ {
		words = append(words, strings.ToUpper(c.peek(i).text))
	}
	return strings.Join(words, " ")
}

func (c *classifier) truncate() {
	c.command = "TRUNCATE TABLE"
	c.accept("table")
	c.targets, _ = c.names()
	c.worst(Lock, shortLock)
	c.others = has(c.tokens, "cascade")
	c.warnTruncate()
}

// lock is LOCK TABLE; only the strongest mode is replayed, and it is the default. Of a view
// it locks the tables below, too (11 and later), which may be older than the view.
func (c *classifier) lock() {
	c.command = "LOCK TABLE"
	c.accept("table")
	c.targets, _ = c.names()
	if c.accept("in") && !c.at("access exclusive mode") {
		c.worst(None, noLock)
		return
	}
	c.others = true
	c.worst(Lock, "locks the relation, and what a view reads, against reads until the transaction ends")
}

func (c *classifier) reindex() {
	c.command = "REINDEX"
	options, _ := c.parens()
	concurrently := on(options, "concurrently")
	what, _ := c.any("index", "table", "schema", "database", "system")
	concurrently = c.accept("concurrently") || concurrently
	c.transactional = !concurrently && (what == "index" || what == "table")
	if concurrently {
		c.command += " CONCURRENTLY"
	}
	n, ok := c.name()
	if what == "index" || what == "table" {
		if ok {
			c.targets = []Name{n}
		}
	}
	switch {
	case concurrently && c.before(12):
		c.worst(Refuse, "REINDEX CONCURRENTLY needs PostgreSQL 12")
	case concurrently:
		c.worst(New, "the old index is dropped when new reads use the new one; replay waits for old reads")
	case what == "index" || what == "table":
		c.worst(Lock, "locks indexes, and every plan of a read opens all indexes of its table")
		c.others = true // what it names may be new, but is never known to be for REINDEX INDEX
		c.warn("reindex-blocks", reindexHint(c.version), "blocks writes to the table, and on the standbys reads, while it builds")
	default:
		c.worst(Rewrite, "locks the indexes of every table in turn")
	}
}

func (c *classifier) refresh() {
	c.command = "REFRESH MATERIALIZED VIEW"
	concurrently := c.accept("concurrently")
	if n, ok := c.name(); ok {
		c.targets = []Name{n}
	}
	if concurrently {
		c.worst(None, "changes rows, and locks nobody's reads")
		return
	}
	c.worst(Rewrite, "writes the view anew, and locks it against reads all the while")
	c.warn("refresh-blocks", "REFRESH MATERIALIZED VIEW CONCURRENTLY; the view needs a unique index", "readers of the view wait while it is written")
}

func (c *classifier) cluster() {
	c.command = "CLUSTER"
	c.parens()
	c.accept("verbose")
	if n, ok := c.name(); ok {
		c.targets = []Name{n}
		if c.accept("on") { // the old form: CLUSTER index ON table
			if t, ok := c.name(); ok {
				c.targets = []Name{t}
			}
		}
	} else {
		c.transactional = false
	}
	c.worst(Rewrite, "writes the table anew, and locks it against reads all the while")
}

func (c *classifier) vacuum() {
	c.command, c.transactional = "VACUUM", false
	options, _ := c.parens()
	_, full := option(options, "full")
	full = full && !off(options, "full")
	full = c.accept("full") || full
	for {
		if _, ok := c.any("freeze", "verbose", "analyze", "analyse"); !ok {
			break
		}
	}
	if c.more() {
		c.targets = c.vacuumed()
	}
	switch {
	case full:
		c.worst(Rewrite, "writes the table anew, and locks it against reads all the while")
	case off(options, "truncate"):
		c.worst(None, noLock)
	default:
		c.worst(Lock, "cuts off an empty end of the table under a lock, which replay repeats; VACUUM (TRUNCATE false) does not (12 and later)")
	}
}

// vacuumed are the tables of a VACUUM, without the columns to analyze.
func (c *classifier) vacuumed() []Name {
	var all []Name
	for {
		c.accept("only")
		n, ok := c.name()
		if !ok {
			return all
		}
		all = append(all, n)
		c.symbol("*")
		c.parens()
		if !c.symbol(",") {
			return all
		}
	}
}

// option is the value of an option in parentheses; of several of that name the last counts,
// as it does for the server (12 and later; before, they have no values). False: there is none.
// A name in quotes is as good.
func option(options []token, name string) (value []token, ok bool) {
	for _, o := range list(options) {
		if len(o) > 0 && (o[0].kind == word || o[0].kind == quoted) && o[0].text == name {
			value, ok = o[1:], true
		}
	}
	return value, ok
}

// on: the option is there, and certainly switched on.
func on(options []token, name string) bool {
	value, ok := option(options, name)
	return ok && (len(value) == 0 || isAny(value, "true", "on", "1"))
}

// off: the option is there, and certainly switched off.
func off(options []token, name string) bool {
	value, ok := option(options, name)
	return ok && isAny(value, "false", "off", "0")
}

// isAny: the value is one of those, in any case. Of a string, or a number with a sign, it is
// not known.
func isAny(value []token, texts ...string) bool {
	return len(value) == 1 && slices.Contains(texts, fold(value[0].text))
}
