package ddl

import "strings"

// cursor walks the tokens of a statement.
type cursor struct {
	tokens []token
	i      int
}

func (c *cursor) more() bool { return c.i < len(c.tokens) }

func (c *cursor) peek(ahead int) token {
	if c.i+ahead < len(c.tokens) {
		return c.tokens[c.i+ahead]
	}
	return token{kind: symbol}
}

// at: the words come next.
func (c *cursor) at(words string) bool {
	for i, w := range strings.Fields(words) {
		if t := c.peek(i); t.kind != word || t.text != w {
			return false
		}
	}
	return true
}

// accept takes the words if they come next.
func (c *cursor) accept(words string) bool {
	if !c.at(words) {
		return false
	}
	c.i += len(strings.Fields(words))
	return true
}

// any takes the first of the phrases that comes next, and gives it.
func (c *cursor) any(phrases ...string) (string, bool) {
	for _, p := range phrases {
		if c.accept(p) {
			return p, true
		}
	}
	return "", false
}

func (c *cursor) symbol(s string) bool {
	if t := c.peek(0); t.kind != symbol || t.text != s {
		return false
	}
	c.i++
	return true
}

// ident takes one name.
func (c *cursor) ident() (string, bool) {
	t := c.peek(0)
	if t.kind != word && t.kind != quoted {
		return "", false
	}
	c.i++
	return t.text, true
}

// name takes a name with its schema, if it has one. A database before that is the one
// connected to, or the statement fails.
func (c *cursor) name() (Name, bool) {
	parts := []string{}
	for {
		p, ok := c.ident()
		if !ok {
			return Name{}, false
		}
		parts = append(parts, p)
		if !c.symbol(".") {
			break
		}
	}
	n := Name{Name: parts[len(parts)-1]}
	if len(parts) > 1 {
		n.Schema = parts[len(parts)-2]
	}
	return n, true
}

// names takes a list of names. The star and ONLY change nothing of the locks.
func (c *cursor) names() ([]Name, bool) {
	var all []Name
	for {
		c.accept("only")
		n, ok := c.name()
		if !ok {
			return all, false
		}
		c.symbol("*")
		all = append(all, n)
		if !c.symbol(",") {
			return all, true
		}
	}
}

// parens skips what stands in parentheses, and gives it.
func (c *cursor) parens() ([]token, bool) {
	if !c.symbol("(") {
		return nil, false
	}
	start, depth := c.i, 1
	for ; c.more(); c.i++ {
		switch t := c.peek(0); {
		case t.kind == symbol && t.text == "(":
			depth++
		case t.kind == symbol && t.text == ")":
			if depth--; depth == 0 {
				c.i++
				return c.tokens[start : c.i-1], true
			}
		}
	}
	return nil, false
}

// list cuts tokens at commas outside of parentheses and brackets.
func list(tokens []token) [][]token {
	var all [][]token
	depth, start := 0, 0
	for i, t := range tokens {
		if t.kind != symbol {
			continue
		}
		switch t.text {
		case "(", "[":
			depth++
		case ")", "]":
			depth--
		case ",":
			if depth == 0 {
				all, start = append(all, tokens[start:i]), i+1
			}
		}
	}
	return append(all, tokens[start:])
}

// has: the words stand somewhere, outside of parentheses.
func has(tokens []token, words string) bool {
	_, ok := after(tokens, words)
	return ok
}

// after is what follows the words, outside of parentheses.
func after(tokens []token, words string) ([]token, bool) {
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
		if c := (cursor{tokens: tokens, i: i}); depth == 0 && c.accept(words) {
			return tokens[c.i:], true
		}
	}
	return nil, false
}
