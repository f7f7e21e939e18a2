package ddl

import "slices"

// expression is the default: up to the next constraint of the column.
func expression(tokens []token) []token {
	depth := 0
	for i, t := range tokens {
		if t.kind == symbol {
			switch t.text {
			case "(":
				depth++
			case ")":
				depth--
			}
		}
		if depth > 0 || t.kind != word || i == 0 {
			continue
		}
		c := cursor{tokens: tokens, i: i}
		null := c.at("null") && (tokens[i-1].kind != word || tokens[i-1].text != "from") // IS DISTINCT FROM NULL goes on
		if c.at("not null") || null || c.at("constraint") || c.at("check") || c.at("unique") || c.at("primary key") || c.at("references") || c.at("collate") || c.at("storage") || c.at("compression") {
			return tokens[:i]
		}
	}
	return tokens
}

// constant: the expression is one value for all rows, which the server evaluates once.
// Functions that are stable, such as now(), count; what is not on the list may be
// volatile.
func constant(tokens []token) bool {
	for i, t := range tokens {
		call := i+1 < len(tokens) && tokens[i+1].kind == symbol && tokens[i+1].text == "("
		name := t.kind == word || t.kind == quoted
		switch {
		case !name || !call:
		case i > 1 && tokens[i-1].text == "." && (tokens[i-2].kind != word || tokens[i-2].text != "pg_catalog"):
			return false // somebody's own
		case t.kind == word && slices.Contains(stable(), t.text):
		case t.kind == word && builtin(Name{Name: t.text}) && i > 0 && typed(tokens[:i]): // ::numeric(10,2)
		default:
			return false
		}
	}
	return len(tokens) > 0
}

// typed: what stands before makes the next word a type.
func typed(before []token) bool {
	t := before[len(before)-1]
	return t.kind == symbol && t.text == ":" || t.kind == word && t.text == "as"
}

// stable are the functions that give one value for a whole statement.
func stable() []string {
	return []string{"now", "transaction_timestamp", "statement_timestamp", "current_timestamp", "localtimestamp", "current_time", "localtime",
		"timezone", "date_trunc", "current_setting", "cast", "coalesce", "array", "row", "lower", "upper", "md5", "make_interval", "make_date",
		"to_timestamp", "jsonb_build_object", "jsonb_build_array", "json_build_object", "json_build_array", "and", "or", "not", "in"}
}

func isNull(def []token) bool {
	e := expression(def)
	return len(e) > 0 && e[0].kind == word && e[0].text == "null" && (len(e) == 1 || e[1].kind == symbol && e[1].text == ":")
}
