package hostile

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// long is how long the longest strings are, and some more: a path may have 4095
// bytes.
const long = 1500

// generate returns n different strings that keep accepts. Every other one, while
// there are any, is a trap as it is; the rest are mixtures of fragments around
// one payload, which leaves a trace if the sink executes it. The same seed gives
// the same strings.
func generate(seed uint64, n int, payloads func(i int) []string, keep func(string) bool) []string {
	rng := rand.New(rand.NewPCG(seed, 0))
	pieces := [][]string{spaces(), quotes(), shellWords(), pathWords(), serverWords(), controls()}
	bare := slices.Concat(pieces...)
	rng.Shuffle(len(bare), func(i, j int) { bare[i], bare[j] = bare[j], bare[i] })
	all := make([]string, 0, n)
	seen := map[string]bool{}
	for i := 0; len(all) < n; i++ {
		s := mix(rng, pieces, payloads(i))
		if i%2 == 0 && i/2 < len(bare) {
			s = bare[i/2]
		}
		if !seen[s] && keep(s) {
			seen[s] = true
			all = append(all, s)
		}
	}
	return all
}

func everything(string) bool { return true }

// rarely keeps one in n of those strings that will be refused: the others prove
// more.
func rarely(n int, keep func(string) bool, reason func(string) string) func(string) bool {
	met := 0
	return func(s string) bool {
		if !keep(s) {
			return false
		}
		if reason(s) != "" {
			met++
			return met%n == 0
		}
		return true
	}
}

// mix puts a payload among fragments. Half of the strings are short, for names
// have at most 63 bytes.
func mix(rng *rand.Rand, pieces [][]string, payloads []string) string {
	var b strings.Builder
	some := func(most int) {
		for range rng.IntN(most + 1) {
			set := pieces[rng.IntN(len(pieces))]
			b.WriteString(set[rng.IntN(len(set))])
		}
	}
	most := 1 + 3*rng.IntN(2)
	some(most)
	b.WriteString(payloads[rng.IntN(len(payloads))])
	some(most)
	s := b.String()
	switch rng.IntN(100) {
	case 0: // very long
		return strings.Repeat(s, 1+long/len(s))
	case 1:
		return s + "\x00" + s
	case 2: // a part that lost its end, in the middle of a character or an escape
		return s[:rng.IntN(len(s))] + payloads[0]
	}
	return s
}

func spaces() []string {
	return []string{"", " ", "   ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\u00a0", "\u2028", "\u3000", "\u200b"}
}

func quotes() []string {
	return []string{
		"'", `"`, "`", "''", `""`, `'"'`, `"'"`, `\`, `\\`, `\\\`, `\'`, `\"`, `'\''`, `"\""`, `\n`, `\x27`, `\047`, `\u0027`,
		"’", "«»", "$'", `$"`, "$$", "$a$", "$_$", `E'\'`, `U&"`, "it's", `say "hi"`, `C:\dir\`, `'''`, `"""`,
	}
}

func shellWords() []string {
	return []string{
		"$HOME", "${HOME}", "${IFS}", "$(", ")", "$((1+1))", "${", "}", "$", "$1", "$@", "!", "!!", "&", "&&", "|", "||", ";", ";;", "<", ">", ">>",
		"(", "{a,b}", "[a-z]", "*", "**", "?", "***", "~", "~root", "~+", "#", " # ", "=", "a=b", "=ls", "%", "%s%n", "%%", "%h", "%d", "%u", "%p",
		"-", "--", "-n", "-e", "-rf", "--help", "--rsh=sh", "-oProxyCommand=", "if", "then", "fi", "exec", "eval", "time", "[[", "]]", "^", ",", "+",
	}
}

func pathWords() []string {
	return []string{
		"/", "//", "/.", "/..", "../", "./", "a/b", "/etc/passwd", ".", "..", "...", "/*/", "/**/", "/***", "- ", "+ ", "! ", ": ", ". ", "-! ", "dir-merge .",
		"merge,", "exclude", "host:", "host::module", "rsync://h/m", ":", "::", "@", "@file", "@eof", "[", "]", "[]]", "[!a]", "[^a]", "[[:alpha:]]", `\*`, `\[`, `a\`,
		".pgpass", "pg_wal", "postmaster.pid", ";", "_",
	}
}

func serverWords() []string {
	return []string{
		"--", "/*", "*/", "'; drop table c; --", `"; drop table c; --`, "'||'", "::text", ":v", ":'v'", "$1", "select", "NULL", "\\q", "\\!", "\\gexec", "copy",
		"all", "replication", "sameuser", "samerole", "samegroup", "+group", "samehost", "samenet", "trust", "local all all trust", "host", "reject", "include",
		"include_dir", "include_if_exists 'x'", "#", "on", "off", "0", "0x7f", "1e6", "-1", "16MB", "1.5", "é", "host=h", "user=u", "password=p", "postgres://u@h/d",
		"postgresql://", "dbname='x", "=", " = ", "ü", "ß", "İ", "ſ", "K", "日本語", "\U0001f40c", "שלום", "\u202e", "\u0301", "a\u0308\u0301", "\ufeff", "\ufffd",
		"ssh-ed25519 AAAA", `",command="`, "no-pty,", "public", "none", "pg_", "C", "template1",
	}
}

// controls has each control character, and bytes that are no UTF-8.
func controls() []string {
	var all []string
	for c := byte(1); c < ' '; c++ {
		all = append(all, string([]byte{c}))
	}
	return append(all, "\x00", "\x00", "\x7f", "\x80", "\xff", "\xfe\xff", "\xc3", "\xc3\x28", "\xe2\x82", "\xf0\x9f\x90", "\xed\xa0\x80", "\xc0\xaf", "\xc0\x80", "\xf4\x90\x80\x80",
		"\u0085", "\u009b31m", "\x1b[31m", "\x1b]0;t\a", "\x81'", "\xbf\"", "\xbf'", "\x95\x5c")
}
