package ddl

// foreign are the statements that are no schema changes, and what to do instead, by the
// word that they begin with.
func foreign(first string) (hint string, ok bool) {
	switch first {
	case "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release":
		return "take it out: the rollout makes the transactions", true
	case "set", "reset", "discard":
		return "take it out, and write names with their schema; ALTER ROLE … SET is for settings", true
	case "insert", "update", "delete", "merge":
		return "data is changed by its own session, in batches, after the schema", true
	case "select", "table", "values", "with", "show", "explain", "fetch", "move", "declare", "close":
		return "take it out: a query is no schema change", true
	case "copy":
		return "load data by its own session, with psql", true
	case "do", "call":
		return "write out the statements: nobody can see from outside what it would lock", true
	case "prepare", "execute", "deallocate", "listen", "unlisten", "notify", "load", "checkpoint":
		return "take it out: it is no schema change", true
	}
	return "", false
}

// secretive: the statement has a password in it. It would be shown, kept in a journal and
// written to the server's log.
func secretive(p piece) (place, bool) {
	c := cursor{tokens: p.tokens}
	if !c.accept("create") && !c.accept("alter") {
		return place{}, false
	}
	if _, ok := c.any("role", "user", "group", "server", "subscription", "foreign data wrapper"); !ok {
		return place{}, false
	}
	for i, t := range p.tokens {
		if (t.kind == word || t.kind == quoted) && t.text == "password" && i+1 < len(p.tokens) && p.tokens[i+1].kind == str {
			return t.place, true
		}
	}
	return place{}, false
}
