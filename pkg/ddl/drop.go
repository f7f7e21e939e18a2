package ddl

// drop classifies the DROPs that do not name the relation that they lock, or not first.
func (c *classifier) drop() bool {
	switch {
	case c.accept("index"):
		c.command = "DROP INDEX"
		concurrently := c.accept("concurrently")
		c.optional = c.accept("if exists")
		c.targets, _ = c.names()
		if concurrently {
			c.command, c.transactional = "DROP INDEX CONCURRENTLY", false
			c.worst(New, "new reads do not use the index any more; replay waits for old ones")
			if len(c.targets) == 1 { // of several the server drops none
				c.trace = Trace{Kind: IndexDropped, Name: c.targets[0]}
			}
			return true
		}
		c.others = false
		c.worst(Lock, "locks the index and its table against reads")
		c.warn("drop-index-blocks", "DROP INDEX CONCURRENTLY, in a script of its own (not for the index of a constraint or of a partitioned table)",
			"waits for every reader of the table, and new ones wait behind it")
	case c.accept("trigger"):
		c.on("DROP TRIGGER", Lock, "locks the table of the trigger against reads")
	case c.accept("rule"):
		c.on("DROP RULE", Lock, "locks the relation of the rule against reads")
	case c.accept("policy"):
		c.on("DROP POLICY", Lock, "locks the table of the policy against reads")
	default:
		return false
	}
	return true
}
