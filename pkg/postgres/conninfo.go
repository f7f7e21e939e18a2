package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Param is one keyword of a libpq connection string.
type Param struct{ Key, Value string }

// ConninfoValue quotes one value for a connection string by the rules of
// libpq's conninfo_parse: single quotes around, backslash before ' and \. Values
// of plain characters stay bare. The result still has to be quoted for the place
// it is written to (postgresql.conf, SQL).
func ConninfoValue(s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", fmt.Errorf("quote conninfo value: %w", ErrNUL)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s, nil
	}
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + `'`, nil
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("._-/:,@*+", r)
}

// Conninfo joins parameters, in their order, to a connection string.
func Conninfo(params []Param) (string, error) {
	out := make([]string, 0, len(params))
	for _, p := range params {
		if !keyword(p.Key) {
			return "", fmt.Errorf("write conninfo: %q is not a keyword", p.Key)
		}
		v, err := ConninfoValue(p.Value)
		if err != nil {
			return "", fmt.Errorf("write conninfo: %s: %w", p.Key, err)
		}
		out = append(out, p.Key+"="+v)
	}
	return strings.Join(out, " "), nil
}

func keyword(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// ErrURI is a connection string in URI form, which PostgreSQL accepts in
// primary_conninfo but which cannot be edited parameter by parameter. Write it
// as keyword=value.
var ErrURI = errors.New("a connection URI; write it as keyword=value pairs")

// ParseConninfo reads a keyword=value connection string as libpq does. The
// order and repeated keywords are kept; libpq lets the last one win. No value is
// named in an error.
func ParseConninfo(s string) ([]Param, error) {
	if strings.HasPrefix(s, "postgresql://") || strings.HasPrefix(s, "postgres://") {
		return nil, fmt.Errorf("parse conninfo: %w", ErrURI)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return nil, fmt.Errorf("parse conninfo: %w", ErrNUL)
	}
	var out []Param
	for i := skipBlank(s, 0); i < len(s); i = skipBlank(s, i) {
		start := i
		for i < len(s) && s[i] != '=' && !blank(s[i]) {
			i++
		}
		key := s[start:i]
		i = skipBlank(s, i)
		if i == len(s) || s[i] != '=' {
			return nil, fmt.Errorf("parse conninfo: missing = after byte %d", i)
		}
		if !keyword(key) {
			return nil, fmt.Errorf("parse conninfo: no keyword before byte %d", i)
		}
		value, next, err := conninfoValue(s, skipBlank(s, i+1))
		if err != nil {
			return nil, fmt.Errorf("parse conninfo: value of %s: %w", key, err)
		}
		out, i = append(out, Param{key, value}), next
	}
	return out, nil
}

func conninfoValue(s string, i int) (string, int, error) {
	var b strings.Builder
	quoted := i < len(s) && s[i] == '\''
	if quoted {
		i++
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\'':
			return b.String(), i + 1, nil
		case !quoted && blank(c):
			return b.String(), i, nil
		case c == '\\':
			// libpq drops a backslash at the very end.
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", i, errors.New("unterminated quoted string")
	}
	return b.String(), i, nil
}

func skipBlank(s string, i int) int {
	for i < len(s) && blank(s[i]) {
		i++
	}
	return i
}

func blank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// PassfileLine is one line of a password file, with its newline:
// host:port:database:user:password. Backslashes and colons are escaped; a host,
// database or user of "*" is the wildcard, and port 0 is any port. The
// replication protocol looks for the database "replication".
func PassfileLine(host string, port int, db, user string, password secret.Value) (secret.Value, error) {
	if password.IsZero() {
		return secret.Value{}, fmt.Errorf("write passfile line: password: %w", ErrEmpty)
	}
	p := "*"
	if port != 0 {
		p = strconv.Itoa(port)
	}
	fields := []string{host, p, db, user, password.Reveal()}
	names := []string{"host", "port", "database", "user", "password"}
	for i, f := range fields {
		switch {
		case f == "":
			return secret.Value{}, fmt.Errorf("write passfile line: %s: %w", names[i], ErrEmpty)
		case strings.ContainsAny(f, "\x00\r\n"):
			// libpq reads line by line and strips CR and LF at the end.
			return secret.Value{}, fmt.Errorf("write passfile line: %s: %w", names[i], ErrControl)
		}
		fields[i] = strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(f)
	}
	if strings.HasPrefix(host, "#") {
		return secret.Value{}, errors.New("write passfile line: host: begins with #, which is a comment")
	}
	return secret.New(strings.Join(fields, ":") + "\n"), nil
}
