package facts

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// secretStarts match what stands before a secret in a configuration file; the group is
// where the secret begins. Lines that are commented out count: what was a password
// mostly still is one. The files that PostgreSQL and its packages bring match none.
var secretStarts = []*regexp.Regexp{
	// Of a conninfo, of a server of LDAP or RADIUS in pg_hba.conf, of an environment
	// variable in a command, or in a comment.
	regexp.MustCompile(`(?i)(?:passw(?:or)?d|pwd|passphrase|secrets?|secret_\w+|token|access_key|account_key|scram_(?:client|server)_key)["']*\s*[=:]()`),
	// Of an option of a command.
	regexp.MustCompile(`(?i)--[a-z_-]*(?:passw(?:or)?d|passphrase|secret|token)[a-z_-]*\s()\S`),
	// postgresql.conf needs no "="; empty is the default.
	regexp.MustCompile(`(?i)ssl_passphrase_command(?:\s*=\s*|\s+)()(?:'[^']|'''|[^'\s#=])`),
	// postgresql://user:password@host
	regexp.MustCompile(`://[^/@\s]*:()[^/@]*@`),
}

// HoldsSecret reports whether a configuration file holds what looks like a secret.
func HoldsSecret(text []byte) bool {
	found := false
	eachRecord(text, func(lines []string) { found = found || secretAt(record(lines)) >= 0 })
	return found
}

const masked = "***" // as pkg/secret prints one

// MaskSecrets gives a configuration file for showing: in place of what looks like a
// secret, and of all that comes behind it in its line, it has ***. Where a secret ends
// depends on up to three layers of quotes; the end of the line never comes too early.
func MaskSecrets(text []byte) []byte {
	var out bytes.Buffer
	eachRecord(text, func(lines []string) {
		at := secretAt(record(lines))
		for i, l := range lines {
			body, end := splitEnd(l)
			part := len(body)
			if i < len(lines)-1 {
				part-- // the backslash
			}
			if at < 0 || at > part {
				out.WriteString(l)
			} else {
				out.WriteString(body[:max(at, 0)] + masked + end)
				at = part // all that is continued goes, too
			}
			if at >= 0 {
				at -= part
			}
		}
	})
	return out.Bytes()
}

// eachRecord gives the lines that belong together: in pg_hba.conf of 14 and later a
// backslash at the end of a line continues it.
func eachRecord(text []byte, visit func(lines []string)) {
	var lines []string
	for l := range bytes.Lines(text) {
		lines = append(lines, string(l))
		if body, end := splitEnd(string(l)); end != "" && strings.HasSuffix(body, `\`) {
			continue
		}
		visit(lines)
		lines = nil
	}
	if lines != nil {
		visit(lines)
	}
}

// record joins them as the server does.
func record(lines []string) string {
	var b strings.Builder
	for i, l := range lines {
		body, _ := splitEnd(l)
		if i < len(lines)-1 {
			body = body[:len(body)-1]
		}
		b.WriteString(body)
	}
	return b.String()
}

func splitEnd(line string) (body, end string) {
	body = strings.TrimRight(line, "\r\n")
	return body, line[len(body):]
}

// secretAt is where the first secret of a record may begin, -1 if it holds none. A name
// may be spelled with quotes or escapes, as in ldapbind"passwd"=x or 'passw\157rd=x';
// then all from the first of them on counts as secret.
func secretAt(record string) int {
	at, name := -1, len(record)
	for _, re := range secretStarts {
		if m := re.FindStringSubmatchIndex(record); m != nil && (at < 0 || m[2] < at) {
			at, name = m[2], m[0]
		}
	}
	spelled := strings.IndexAny(record[:name], `"\%`)
	if spelled < 0 {
		return at
	}
	plain := unspell(record[:name])
	for _, re := range secretStarts {
		if re.MatchString(plain) {
			return spelled
		}
	}
	return at
}

// escape is what the readers of such files know: octal digits or a character behind a
// backslash (postgresql.conf, a conninfo), and two hexadecimal digits behind a percent
// sign (a URI).
var escape = regexp.MustCompile(`\\[0-7]{1,3}|\\.|%[0-9A-Fa-f]{2}|"`)

func unspell(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		digits, base := e[1:], 8
		if e[0] == '%' {
			base = 16
		}
		if n, err := strconv.ParseUint(digits, base, 16); err == nil {
			return string([]byte{byte(n)})
		}
		return digits // of a quote: nothing
	})
}
