package ddl

// piece is a statement as tokens, and what of the source it is.
type piece struct {
	tokens     []token
	text       string
	start, end int
}

// split cuts the source at its semicolons: those outside of parentheses (the actions of a
// rule have some) and outside of BEGIN ATOMIC … END, the body of an SQL function since 14.
func (r *reading) split(src string) []piece {
	l := &lexer{src: src, line: 1, col: 1, fail: func(at place, what string) {
		r.problem(at, "", "this %s is not closed before the end of the file", what)
	}}
	var pieces []piece
	var p piece
	var open []token // parentheses
	body := 0        // BEGIN ATOMIC and CASE not ended yet
	flush := func() {
		for _, t := range open {
			r.problem(t.place, "", "this parenthesis is not closed before the end of the statement")
		}
		if len(p.tokens) > 0 {
			p.start, p.end = p.tokens[0].start, p.tokens[len(p.tokens)-1].end
			p.text = src[p.start:p.end]
			pieces = append(pieces, p)
		}
		p, open, body = piece{}, nil, 0
	}
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if t.kind == symbol && t.text == ";" && body == 0 && (len(open) == 0 || !p.begins("create", "rule")) {
			data := p.data()
			flush()
			if data { // what follows are rows
				break
			}
			continue
		}
		switch {
		case t.kind == symbol && t.text == "(":
			open = append(open, t)
		case t.kind == symbol && t.text == ")":
			if len(open) == 0 {
				r.problem(t.place, "", "a closing parenthesis that nothing opens")
			} else {
				open = open[:len(open)-1]
			}
		case t.kind == symbol && t.text == `\`:
			r.problem(t.place, "write the statements themselves into the file; psql does not read it", "a psql command: this is not SQL")
			l.take(func(c byte) bool { return c != '\n' }) // it ends with its line
			continue
		case t.kind == symbol && t.text == `U&"`:
			r.problem(t.place, "write the letters themselves", "a name in Unicode escapes")
		case t.kind == word:
			body += p.depth(t, body)
		}
		p.tokens = append(p.tokens, t)
	}
	if body > 0 {
		r.problem(p.tokens[0].place, "", "the body of this function, BEGIN ATOMIC, has no END")
	}
	flush()
	return pieces
}

// begins: the first words of the statement, OR REPLACE aside.
func (p *piece) begins(first string, second ...string) bool {
	at := func(i int) string {
		if i < len(p.tokens) && p.tokens[i].kind == word {
			return p.tokens[i].text
		}
		return ""
	}
	i := 1
	if at(1) == "or" && at(2) == "replace" {
		i = 3
	}
	if at(0) != first {
		return false
	}
	for _, s := range second {
		if at(i) == s {
			return true
		}
	}
	return false
}

// data: rows follow the statement, not SQL.
func (p *piece) data() bool {
	if len(p.tokens) == 0 || p.tokens[0].kind != word || p.tokens[0].text != "copy" {
		return false
	}
	for i, t := range p.tokens[:len(p.tokens)-1] {
		if t.kind == word && t.text == "from" && p.tokens[i+1].kind == word && p.tokens[i+1].text == "stdin" {
			return true
		}
	}
	return false
}

// depth is what a word adds to the depth of a function's body. As a label, behind a dot
// or AS, it is no keyword.
func (p *piece) depth(t token, body int) int {
	n := len(p.tokens)
	var before token
	if n > 0 {
		before = p.tokens[n-1]
	}
	if before.kind == symbol && before.text == "." || before.kind == word && before.text == "as" {
		return 0
	}
	switch {
	case body == 0:
		if t.text == "atomic" && before.kind == word && before.text == "begin" && p.begins("create", "function", "procedure") {
			return 1
		}
	case t.text == "case":
		return 1
	case t.text == "end":
		return -1
	}
	return 0
}
