package ddl

// create classifies what CREATE makes, where that is a relation or hangs on one.
func (c *classifier) create() bool {
	replace := c.accept("or replace")
	temporary, _ := c.any("global temporary", "global temp", "local temporary", "local temp", "temporary", "temp")
	unlogged := c.accept("unlogged")
	switch {
	case c.accept("table"):
		c.createTable(temporary != "", unlogged)
	case c.at("unique index") || c.at("index"):
		c.createIndex()
	case c.accept("materialized view"):
		c.command = "CREATE MATERIALIZED VIEW"
		c.makesRelation(nil)
		c.worst(None, makesNew)
	case c.at("view") || c.at("recursive view"):
		c.accept("recursive")
		c.accept("view")
		c.createView(replace)
	case c.accept("sequence"):
		c.command = "CREATE SEQUENCE"
		c.makesRelation(nil)
		c.worst(None, makesNew)
	case c.accept("foreign table"):
		c.command = "CREATE FOREIGN TABLE"
		c.createTable(false, false)
	case c.accept("trigger") || c.accept("constraint trigger"):
		c.on("CREATE TRIGGER", None, noLock)
		c.warnWrites("trigger")
	case c.accept("policy"):
		c.on("CREATE POLICY", Lock, shortLock)
	case c.accept("rule"):
		c.command = "CREATE RULE"
		c.worst(Lock, shortLock)
		if rest, ok := after(c.tokens, "to"); ok {
			t := cursor{tokens: rest}
			if n, ok := t.name(); ok {
				c.targets = []Name{n}
			}
		}
	case c.accept("type"):
		return c.createType()
	case c.accept("schema"):
		c.createSchema()
	default:
		return false
	}
	return true
}

// createSchema: what it makes in the schema may be a partition of what is read.
func (c *classifier) createSchema() {
	c.command = "CREATE SCHEMA"
	c.accept("if not exists")
	if !c.at("authorization") {
		c.ident()
	}
	if c.accept("authorization") {
		c.ident()
	}
	if !c.more() {
		c.worst(None, makesNew)
		return
	}
	c.others = true
	c.worst(Rewrite, "what it makes in the schema is not looked at: taken for the worst; statements of their own behind it are looked at")
}

// createType remembers enums: a column of one is added without a rewrite, of a domain
// perhaps not.
func (c *classifier) createType() bool {
	n, ok := c.name()
	if ok && (c.at("as enum") || c.at("as range")) {
		c.made.types = append(c.made.types, n.String())
	}
	return false
}

// makesRelation takes IF NOT EXISTS and the name. What may exist already is not counted
// as new.
func (c *classifier) makesRelation(on *Name) (Name, bool) {
	exists := c.accept("if not exists")
	n, ok := c.name()
	if ok && !exists {
		c.makes = append(c.makes, object{name: n, on: on})
	} else if ok {
		c.targets, c.optional = append(c.targets, n), true
	}
	return n, ok
}

func (c *classifier) createTable(temporary, unlogged bool) {
	if c.command == "CREATE" {
		c.command = "CREATE TABLE"
	}
	n, _ := c.makesRelation(nil)
	for i := range c.makes {
		c.makes[i].partitioned = has(c.tokens[c.i:], "partition by")
	}
	c.worst(None, makesNew)
	switch {
	case temporary:
		c.warn("temporary-table", "take it out", "a temporary table is gone when the rollout's session ends")
	case unlogged:
		c.warn("unlogged", "", "an unlogged table cannot be read on a standby, and is empty after a crash or a failover")
	}
	switch {
	case c.accept("partition of"):
		parent, ok := c.name()
		if ok {
			c.targets = append(c.targets, parent)
		}
		c.worst(Lock, "locks the parent of the partition against reads")
		c.warn("partition-of", "CREATE TABLE "+n.String()+" (LIKE "+parent.String()+" INCLUDING ALL), then ALTER TABLE "+parent.String()+" ATTACH PARTITION, which leaves the parent readable (12 and later)",
			"locks the whole partitioned table against reads, not the new partition alone")
	case has(c.tokens[c.i:], "as"):
		c.command += " AS"
	}
}

// createIndex: an index is built under a lock against writes, which replay does not know.
func (c *classifier) createIndex() {
	unique := c.accept("unique")
	c.accept("index")
	c.command = "CREATE INDEX"
	concurrently := c.accept("concurrently")
	exists := c.accept("if not exists")
	var n Name
	named := false
	switch {
	case !c.at("on"):
		n, named = c.name()
	case concurrently:
		c.traceless = nameless()
	}
	c.accept("on")
	c.accept("only")
	table, ok := c.name()
	if ok {
		c.targets = []Name{table}
		if n.Schema == "" { // an index is where its table is
			n.Schema = table.Schema
		}
		if named && !exists {
			c.makes = append(c.makes, object{name: n, on: &table})
		}
		if named {
			c.trace = Trace{Kind: IndexMade, Name: n, Of: table}
		}
	}
	c.worst(None, "locks out writers alone, and replay does not know that lock")
	if concurrently {
		c.command, c.transactional = "CREATE INDEX CONCURRENTLY", false
		c.why = "locks neither reads nor writes"
		if unique {
			c.warn("concurrent-unique", "", "if it finds a duplicate it leaves an invalid index behind, which still refuses duplicates and costs every write")
		}
		return
	}
	if ok && !c.made.isNew(table) {
		c.warn("index-blocks-writes", "CREATE INDEX CONCURRENTLY, in a script of its own (not for a partitioned table: there each partition by itself, then ALTER INDEX … ATTACH PARTITION)",
			"nobody can write to %s while the index is built", table)
	}
}

func (c *classifier) createView(replace bool) {
	c.command = "CREATE VIEW"
	if !replace {
		c.makesRelation(nil)
		c.worst(None, makesNew)
		return
	}
	if n, ok := c.name(); ok {
		c.targets, c.optional = []Name{n}, true
		c.makes = append(c.makes, object{name: n, old: true})
	}
	c.worst(Lock, "locks the view against reads if it exists already")
}

// on is a statement of the form … name … ON table.
func (c *classifier) on(command string, class Class, why string) {
	c.command = command
	c.worst(class, why)
	if rest, ok := after(c.tokens[c.i:], "on"); ok {
		t := cursor{tokens: rest}
		if n, ok := t.name(); ok {
			c.targets = []Name{n}
		}
	}
}
