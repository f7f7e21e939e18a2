package hba

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rule is one record: who may connect from where, and how they prove it.
type Rule struct {
	// Type is local, host, hostssl, hostnossl, hostgssenc or hostnogssenc.
	Type string
	// Databases and Users are lists; the record matches if any word does.
	Databases []Token
	Users     []Token
	// Address is empty for local, else all, samehost, samenet, an address
	// with or without a prefix length, a host name, or .suffix of host
	// names. A host whose name is one of these keywords is written in double
	// quotes: `"all"`.
	Address string
	// Mask is the netmask of an Address without a prefix length.
	Mask    string
	Method  string
	Options []string // name=value
	// Line is where the record begins, counted from 1. It is ignored in a
	// rule that is asked for.
	Line int
}

// format spells the rule as one line without a line ending, quoting what must
// be. It refuses a rule that the server would not read back as it is.
func format(r Rule, comment string) (string, error) {
	if err := checkText(r, comment); err != nil {
		return "", err
	}
	columns := []string{r.Type, list(r.Databases), list(r.Users)}
	widths := []int{8, 16, 16, 24} // the columns of pg_hba.conf.sample
	if r.Type != "local" {
		address := addressToken(r.Address).String()
		if mustQuote(addressToken(r.Address).Value) {
			return "", fmt.Errorf("%q is not an address", r.Address)
		}
		if r.Mask != "" {
			address += " " + Token{Value: r.Mask}.String()
		}
		columns = append(columns, address)
	}
	var b strings.Builder
	for i, c := range columns {
		fmt.Fprintf(&b, "%-*s ", widths[i]-1, c)
	}
	b.WriteString(Token{Value: r.Method}.String())
	for _, o := range r.Options {
		b.WriteString(" " + Token{Value: o}.String())
	}
	if comment != "" {
		b.WriteString(" # " + comment)
	}

	// The text is not trusted until it has been read back: whatever a name
	// holds, it cannot become another column, record or line.
	switch e := parseEntry(nil, b.String()); {
	case e.kind == malformed:
		return "", errors.New(e.reason)
	case e.kind != record || !sameRule(e.rule, r):
		return "", errors.New("the record reads back as something else")
	case strings.HasSuffix(b.String(), `\`):
		return "", errors.New("a backslash at the end would swallow the next line")
	}
	return b.String(), nil
}

func checkText(r Rule, comment string) error {
	words := append([]string{r.Type, r.Address, r.Mask, r.Method, comment}, r.Options...)
	for _, t := range slices.Concat(r.Databases, r.Users) {
		words = append(words, t.Value)
	}
	for _, w := range words {
		if strings.ContainsAny(w, "\x00\r\n") {
			return fmt.Errorf("%q holds a NUL, carriage return or newline", w)
		}
	}
	return nil
}

func list(tokens []Token) string {
	words := make([]string, len(tokens))
	for i, t := range tokens {
		words[i] = t.String()
	}
	return strings.Join(words, ",")
}

// sameRule compares everything but the position.
func sameRule(a, b Rule) bool {
	return a.Type == b.Type &&
		slices.EqualFunc(a.Databases, b.Databases, sameToken) &&
		slices.EqualFunc(a.Users, b.Users, sameToken) &&
		a.Address == b.Address && a.Mask == b.Mask &&
		a.Method == b.Method && slices.Equal(a.Options, b.Options)
}

// sameMethod reports whether both rules ask for the same proof. On a local
// socket the server reads ident as peer.
func sameMethod(a, b Rule) bool {
	method := func(r Rule) string {
		if r.Type == "local" && r.Method == "ident" {
			return "peer"
		}
		return r.Method
	}
	return method(a) == method(b) &&
		slices.Equal(slices.Sorted(slices.Values(a.Options)), slices.Sorted(slices.Values(b.Options)))
}

// addressToken and addressText carry the one distinction that quotes make in
// the ADDRESS column: keyword or host name.
func addressToken(address string) Token {
	switch address {
	case `"all"`, `"samehost"`, `"samenet"`:
		return Token{Value: strings.Trim(address, `"`), Quoted: true}
	}
	return Token{Value: address}
}

func addressText(t Token) string {
	if t.Quoted && isAddressKeyword(t.Value) {
		return quote(t.Value)
	}
	return t.Value
}

func isAddressKeyword(s string) bool { return s == "all" || s == "samehost" || s == "samenet" }

// parseRule reads the columns of one record like parse_hba_line, with the
// server's own words for what it refuses.
func parseRule(columns [][]Token) (Rule, error) {
	c := cursor{columns}
	var r Rule
	var err error
	if r.Type, err = c.one("end-of-line before connection type", "multiple values specified for connection type"); err != nil {
		return r, err
	}
	if classes(r.Type) == 0 {
		return r, fmt.Errorf("invalid connection type %q", r.Type)
	}
	if r.Databases, err = c.next("end-of-line before database specification"); err != nil {
		return r, err
	}
	if r.Users, err = c.next("end-of-line before role specification"); err != nil {
		return r, err
	}
	if r.Type != "local" {
		if err := c.address(&r); err != nil {
			return r, err
		}
	}
	if r.Method, err = c.one("end-of-line before authentication method", "multiple values specified for authentication type"); err != nil {
		return r, err
	}
	if err := checkMethod(r); err != nil {
		return r, err
	}
	for _, field := range c.rest {
		for _, t := range field {
			if !strings.Contains(t.Value, "=") {
				return r, fmt.Errorf("authentication option not in name=value format: %s", t.Value)
			}
			r.Options = append(r.Options, t.Value)
		}
	}
	return r, nil
}

// cursor walks over the columns of a record.
type cursor struct {
	rest [][]Token
}

func (c *cursor) next(missing string) ([]Token, error) {
	if len(c.rest) == 0 {
		return nil, errors.New(missing)
	}
	field := c.rest[0]
	c.rest = c.rest[1:]
	return field, nil
}

func (c *cursor) one(missing, several string) (string, error) {
	field, err := c.next(missing)
	if err != nil {
		return "", err
	}
	if len(field) > 1 {
		return "", errors.New(several)
	}
	return field[0].Value, nil
}

func (c *cursor) address(r *Rule) error {
	field, err := c.next("end-of-line before IP address specification")
	if err != nil {
		return err
	}
	if len(field) > 1 {
		return errors.New("multiple values specified for host address")
	}
	r.Address = addressText(field[0])
	if !field[0].Quoted && isAddressKeyword(field[0].Value) {
		return nil
	}
	host, bits, slash := strings.Cut(field[0].Value, "/")
	ip, isIP := parseIP(host)
	switch {
	case slash && !isIP:
		return fmt.Errorf("specifying both host name and CIDR mask is invalid: %q", r.Address)
	case slash:
		if _, ok := prefixMask(bits, ip); !ok {
			return fmt.Errorf("invalid CIDR mask in address %q", r.Address)
		}
		return nil
	case !isIP:
		return nil
	}
	if r.Mask, err = c.one("end-of-line before netmask specification", "multiple values specified for netmask"); err != nil {
		return err
	}
	mask, ok := parseIP(r.Mask)
	if !ok {
		return fmt.Errorf("invalid IP mask %q", r.Mask)
	}
	if len(mask) != len(ip) {
		return errors.New("IP address and mask do not match")
	}
	return nil
}

func checkMethod(r Rule) error {
	switch r.Method {
	case "trust", "reject", "md5", "password", "scram-sha-256", "ident",
		"pam", "bsd", "ldap", "radius", "sspi", "oauth":
	case "gss":
		if r.Type == "local" {
			return errors.New("gssapi authentication is not supported on local sockets")
		}
	case "peer":
		if r.Type != "local" {
			return errors.New("peer authentication is only supported on local sockets")
		}
	case "cert":
		if r.Type != "hostssl" {
			return errors.New("cert authentication is only supported on hostssl connections")
		}
	default:
		return fmt.Errorf("invalid authentication method %q", r.Method)
	}
	return nil
}
