package ddl

const tablespaceMove = "a move to another tablespace: the tablespace has to exist on every host, and all is copied; do it by hand"

// alterTable takes the worst of its actions: the lock is taken once, for all of them.
func (c *classifier) alterTable(command string) {
	c.command = command
	table, ok := c.subject()
	if !ok {
		c.unknown()
		return
	}
	actions := list(c.tokens[c.i:])
	for _, tokens := range actions {
		a := &action{classifier: c, table: table, cursor: cursor{tokens: tokens}}
		a.classify()
	}
}

// action is one of the actions of an ALTER TABLE.
type action struct {
	cursor
	*classifier
	table Name
}

// light are the storage parameters of tables that leave readers alone; user_catalog_table
// and those of views do not.
func light() []string {
	return []string{"fillfactor", "toast_tuple_target", "parallel_workers", "vacuum_index_cleanup", "vacuum_truncate",
		"vacuum_max_eager_freeze_failure_rate", "log_autovacuum_min_duration", "log_autoanalyze_min_duration",
		"autovacuum_enabled", "autovacuum_vacuum_threshold", "autovacuum_vacuum_max_threshold", "autovacuum_vacuum_scale_factor",
		"autovacuum_vacuum_insert_threshold", "autovacuum_vacuum_insert_scale_factor", "autovacuum_analyze_threshold",
		"autovacuum_analyze_scale_factor", "autovacuum_vacuum_cost_delay", "autovacuum_vacuum_cost_limit", "autovacuum_freeze_min_age",
		"autovacuum_freeze_max_age", "autovacuum_freeze_table_age", "autovacuum_multixact_freeze_min_age",
		"autovacuum_multixact_freeze_max_age", "autovacuum_multixact_freeze_table_age"}
}

func (a *action) classify() {
	c := &a.cursor
	switch {
	case c.accept("add"):
		a.add()
	case c.accept("drop"):
		a.drop()
	case c.at("alter constraint"):
		a.others = true
		a.worst(Lock, shortLock)
	case c.accept("alter column") || c.accept("alter"):
		a.column()
	case c.accept("validate constraint"):
		a.worst(None, "reads the table without a lock that replay repeats")
	case c.at("cluster on"), c.at("set without cluster"):
		a.worst(None, noLock)
	case c.at("enable row level security"), c.at("disable row level security"), c.at("force row level security"), c.at("no force row level security"),
		c.at("enable rule"), c.at("disable rule"), c.at("enable always rule"), c.at("enable replica rule"):
		a.worst(Lock, shortLock)
	case c.at("enable trigger"), c.at("disable trigger"), c.at("enable always trigger"), c.at("enable replica trigger"):
		a.worst(None, "locks out writers alone, and replay does not know that lock")
	case c.at("set logged"):
		a.worst(Rewrite, "writes the table anew, and locks it against reads all the while")
	case c.at("set unlogged"):
		a.worst(Rewrite, "writes the table anew; it cannot be read on a standby afterwards")
		a.warn("unlogged", "", "an unlogged table cannot be read on a standby, and is empty after a crash or a failover")
	case c.at("set with oids"), c.at("set access method"):
		a.worst(Rewrite, "writes the table anew, and locks it against reads all the while")
	case c.at("set without oids"):
		if a.atLeast(12) {
			a.worst(Lock, shortLock)
			return
		}
		a.worst(Rewrite, "before 12, writes a table with oids anew")
	case c.at("set tablespace"):
		a.worst(Refuse, tablespaceMove)
	case c.at("set schema"):
		a.worst(Lock, shortLock)
		a.gone = append(a.gone, a.table)
		a.warnRename("table")
	case c.accept("set"), c.accept("reset"):
		options, ok := c.parens()
		if !ok {
			a.unknown()
			return
		}
		a.storage(options, light()...)
	case c.at("owner to"), c.at("replica identity"), c.at("not of"), c.at("of"), c.at("options"):
		a.worst(Lock, shortLock)
	case c.accept("rename constraint"):
		a.worst(Lock, shortLock)
	case c.accept("rename to"):
		a.worst(Lock, shortLock)
		if n, ok := c.ident(); ok {
			a.renamed(Name{Schema: a.table.Schema, Name: n})
		}
		a.warnRename("table")
	case c.accept("rename"):
		a.worst(Lock, shortLock)
		a.warnRename("column")
	case c.accept("inherit"), c.accept("no inherit"):
		a.parent()
		a.worst(Lock, shortLock)
	case c.accept("attach partition"):
		a.parent()
		a.others = a.others || a.made.keys // mergedKeys
		if a.atLeast(12) {
			a.worst(Lock, "locks the new partition, and the default partition if there is one; not the parent")
		} else {
			a.worst(Lock, "locks the parent and the partition")
		}
		a.warn("attach-scan", "ADD CHECK … NOT VALID with the bounds, VALIDATE CONSTRAINT, attach, drop the check",
			"reads the whole partition (and the default one) under the lock, unless a CHECK already proves its bounds")
	case c.accept("detach partition"):
		a.detach()
	default:
		a.unknown()
	}
}

// renamed: what was new keeps that under its new name.
func (a *action) renamed(to Name) {
	a.gone = append(a.gone, a.table)
	o, _ := find(a.made.ever, a.table)
	a.makes = append(a.makes, object{name: to, old: !a.made.isNew(a.table), partitioned: o.partitioned})
}

// parent takes the other table of the action.
func (a *action) parent() (Name, bool) {
	n, ok := a.cursor.name()
	if ok {
		a.targets = append(a.targets, n)
	}
	return n, ok
}

// detach locks more than it names, CONCURRENTLY or not: a foreign key that references the
// parent has a constraint for each partition. That of this one is dropped, under a lock against
// reads of the table that has the key (12 and later).
func (a *action) detach() {
	partition, named := a.parent()
	a.others = a.others || a.made.keys
	switch concurrently := has(a.cursor.tokens, "concurrently"); {
	case (concurrently || has(a.cursor.tokens, "finalize")) && a.before(14):
		a.worst(Refuse, "DETACH PARTITION CONCURRENTLY needs PostgreSQL 14")
	case concurrently:
		a.command, a.transactional = "ALTER TABLE DETACH PARTITION CONCURRENTLY", false
		if named {
			a.trace = Trace{Kind: PartitionDetached, Name: partition, Of: a.table}
		}
		a.worst(Lock, "locks the partition, and the tables whose foreign keys reference it, against reads; DETACH PARTITION without CONCURRENTLY can be rolled out")
	case has(a.cursor.tokens, "finalize"):
		a.worst(Lock, "locks the partition, and the tables whose foreign keys reference it, against reads")
	default:
		a.worst(Lock, "locks the parent, the partition, and the tables whose foreign keys reference it, against reads")
		a.warn("detach-blocks", "", "locks the whole partitioned table against reads, not the partition alone")
	}
}

func (a *action) drop() {
	c := &a.cursor
	switch {
	case c.accept("constraint"):
		a.others = true // of a foreign key the other table too
		a.worst(Lock, "locks the table, of a foreign key the other one too, against reads")
	default:
		c.accept("column")
		a.others = true // its foreign keys go too
		a.worst(Lock, "marks the column as dropped; the table is not written anew")
		a.warn("data-loss", "", "what is in it is gone when it commits, on every standby too")
		a.warn("not-backward-compatible", "first deploy programs that do not name the column (and no SELECT *, nor INSERT without a list of columns), then drop it",
			"programs that still name the column fail, on the primary at once and on the standbys when it is replayed")
		a.warnPlans()
	}
}

// column is ALTER [COLUMN] name ….
func (a *action) column() {
	c := &a.cursor
	if t := c.peek(0); t.kind == number {
		c.i++
	} else if _, ok := c.ident(); !ok {
		a.unknown()
		return
	}
	switch {
	case c.accept("type"), c.accept("set data type"):
		a.retype()
	case c.at("set statistics"), c.at("set") && c.peek(1).text == "(", c.at("reset"):
		a.worst(None, noLock)
	case c.at("set not null"):
		a.worst(Lock, "reads the whole table under the lock, unless a validated CHECK proves it (12 and later)")
		a.warn("set-not-null-scan", setNotNullHint(a.version), "reads the whole table while nobody else may")
		a.warn("not-backward-compatible", "first deploy programs that always write the column, then set it", "programs that still write NULL fail")
	case c.at("set default"), c.at("drop default"), c.at("drop not null"), c.at("set storage"), c.at("set compression"),
		c.at("add generated"), c.at("set generated"), c.at("drop identity"), c.at("drop expression"), c.at("restart"), c.at("options"), c.at("set"):
		switch {
		case c.at("set expression"):
			a.worst(Rewrite, "computes a stored column anew")
		case a.identity():
			a.worst(Lock, shortLock)
		default:
			a.unknown()
		}
	default:
		a.unknown()
	}
}

// identity: one of the known short forms comes next.
func (a *action) identity() bool {
	_, ok := a.cursor.any("set default", "drop default", "drop not null", "set storage", "set compression", "add generated", "set generated",
		"drop identity", "drop expression", "restart", "options", "set increment", "set cycle", "set no", "set start", "set minvalue", "set maxvalue", "set cache", "set restart")
	return ok
}

// retype: whether it rewrites depends on the type before, which is not in the script.
func (a *action) retype() {
	c := &a.cursor
	a.others = true // a view or a foreign key hangs on it, or indexes are built anew
	a.warn("not-backward-compatible", "add a column of the new type, write both, copy in batches, read the new one, drop the old one in a later deploy",
		"programs that read the old type may fail, and views and functions that name the column may refuse it")
	a.warnPlans()
	t := c.peek(0).text
	if !has(c.tokens, "using") && (t == "text" || t == "varchar" || c.at("character varying")) {
		a.worst(Rewrite, "writes the table anew unless the column is a shorter varchar now (then class 2): --probe tells")
		return
	}
	a.worst(Rewrite, "writes the table anew unless old and new type are stored alike: --probe tells")
}
