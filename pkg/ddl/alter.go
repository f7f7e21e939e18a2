package ddl

import "slices"

// alter classifies what ALTER does to relations, and to what hangs on them.
func (c *classifier) alter() bool {
	switch {
	case c.accept("table all in tablespace") || c.accept("index all in tablespace") || c.accept("materialized view all in tablespace"):
		c.command = "ALTER TABLE"
		c.worst(Refuse, "moves many tables at once: move them one by one, by hand")
	case c.accept("table"):
		c.alterTable("ALTER TABLE")
	case c.accept("foreign table"):
		c.alterTable("ALTER FOREIGN TABLE")
	case c.accept("materialized view"):
		c.alterTable("ALTER MATERIALIZED VIEW")
	case c.accept("index"):
		c.alterIndex()
	case c.accept("sequence"):
		c.alterSequence()
	case c.accept("view"):
		c.alterView()
	case c.accept("type"):
		c.alterType()
	case c.accept("trigger"):
		c.on("ALTER TRIGGER", Lock, "locks the table of the trigger against reads")
	case c.accept("rule"):
		c.on("ALTER RULE", Lock, "locks the relation of the rule against reads")
	case c.accept("policy"):
		c.on("ALTER POLICY", Lock, "locks the table of the policy against reads")
	case c.accept("extension"):
		c.alterExtension()
	case c.at("domain"):
		if has(c.tokens, "add") || has(c.tokens, "validate") || has(c.tokens, "set not null") {
			c.warn("domain-scan", "", "reads every table that has a column of the domain, and locks out its writers meanwhile")
		}
		return false
	default:
		return false
	}
	return true
}

// subject takes IF EXISTS and the name that the statement is about.
func (c *classifier) subject() (Name, bool) {
	c.optional = c.accept("if exists")
	c.accept("only")
	n, ok := c.name()
	if ok {
		c.targets = append(c.targets, n)
	}
	c.symbol("*")
	return n, ok
}

// renamesNoIndex: the server lets ALTER INDEX rename any relation, and takes the lock that
// belongs to what it is.
const renamesNoIndex = "what it renames is no index, and is locked against reads"

func (c *classifier) alterIndex() {
	c.command = "ALTER INDEX"
	n, _ := c.subject()
	switch {
	case c.at("rename"):
		c.gone = c.targets
		switch {
		case !c.atLeast(12):
			c.worst(Lock, "before 12, renaming locks the index against reads")
		case c.made.noIndex(n):
			c.worst(Lock, renamesNoIndex)
		default:
			c.worst(None, noLock)
		}
	case c.at("set tablespace"):
		c.worst(Refuse, tablespaceMove)
	case c.accept("set") || c.accept("reset"):
		options, _ := c.parens()
		c.storage(options, "fillfactor", "deduplicate_items")
	case c.at("alter"):
		c.worst(None, noLock) // SET STATISTICS, the only one
	case c.accept("attach partition"):
		if n, ok := c.name(); ok {
			c.targets = append(c.targets, n)
		}
		c.worst(Lock, "locks the index of the partition against reads")
	default:
		c.worst(Lock, shortLock)
	}
}

// storage: of parameters it depends on each how it is locked, and the list of those that
// leave readers alone is known.
func (c *classifier) storage(options []token, light ...string) {
	for _, o := range list(options) {
		name := ""
		for _, t := range o {
			if t.kind == symbol && t.text == "=" {
				break
			}
			if t.kind == word || t.kind == quoted { // toast.autovacuum_enabled
				name = t.text
			}
		}
		ok := false
		for _, l := range light {
			ok = ok || name == l
		}
		if !ok {
			c.worst(Lock, "setting "+name+" locks the relation against reads")
			return
		}
	}
	c.worst(None, noLock)
}

func (c *classifier) alterSequence() {
	c.command = "ALTER SEQUENCE"
	c.subject()
	switch {
	case c.at("rename") || c.at("owner to") || c.at("set schema"):
		c.worst(Lock, shortLock)
		if !c.at("owner to") {
			c.gone = c.targets
			c.warnRename("sequence")
		}
	case c.at("set logged") || c.at("set unlogged"):
		c.worst(Rewrite, "writes the sequence anew under a lock against reads")
	case c.before(10):
		c.worst(Lock, shortLock)
	default:
		c.worst(None, noLock)
	}
}

func (c *classifier) alterView() {
	c.command = "ALTER VIEW"
	c.subject()
	c.worst(Lock, shortLock)
	if c.at("rename") || c.at("set schema") {
		c.gone = c.targets
		c.warnRename("view")
	}
}

func (c *classifier) alterType() {
	c.command = "ALTER TYPE"
	n, _ := c.name()
	switch {
	case c.accept("add value"):
		c.worst(None, noLock)
		if c.atLeast(12) {
			c.warn("enum-value", "", "the new value cannot be used in the transaction that adds it")
			return
		}
		c.transactional = false
		c.accept("if not exists")
		if value, ok := c.source.says(c.peek(0), c.peek(1)); ok {
			c.trace = Trace{Kind: ValueAdded, Of: n, Value: value}
		} else {
			c.traceless = unread()
		}
	case c.at("rename value"):
		c.worst(None, noLock)
		c.warn("not-backward-compatible", "add the new value, let old and new programs understand both, and leave the old one", "programs that name the old value fail")
	case c.at("set ("):
		c.worst(None, noLock)
	case c.at("set") && c.peek(1).text == "(":
		c.worst(None, noLock)
	case c.at("owner to"):
		c.worst(Lock, "a composite type has a relation of its own, which is locked")
	default: // RENAME, SET SCHEMA, and the attributes of a composite type
		if has(c.tokens[c.i:], "attribute") {
			c.targets = []Name{n}
		}
		c.worst(Lock, "a composite type has a relation of its own, which is locked")
		c.others = true
		c.attributes()
		c.warn("not-backward-compatible", "make a new type beside the old one, move over, and drop the old one in a later deploy", "programs and functions that use the type as it was fail")
	}
}

// attributes: with CASCADE the tables that are OF the type are changed as the type is, and
// may have to be written anew for it.
func (c *classifier) attributes() {
	for _, tokens := range list(c.tokens[c.i:]) {
		if !has(tokens, "cascade") {
			continue
		}
		a := cursor{tokens: tokens}
		switch {
		case a.at("alter attribute"):
			c.worst(Rewrite, "writes the tables that are OF the type anew, unless old and new type are stored alike")
		case a.accept("add attribute"):
			a.ident()
			if t, _ := a.typeName(); !builtin(t) && !slices.Contains(c.made.types, t.String()) {
				c.worst(Rewrite, "type "+t.String()+" may be a domain with a constraint, which writes the tables that are OF the type anew")
			}
		}
	}
}

func (c *classifier) alterExtension() {
	c.command = "ALTER EXTENSION"
	c.ident()
	if c.at("add") || c.at("drop") {
		c.worst(None, noLock)
		return
	}
	c.worst(Rewrite, "runs the extension's own script, which may lock anything: taken for the worst")
}
