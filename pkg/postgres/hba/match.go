package hba

import (
	"slices"
	"strings"
)

// class is a set of the four ways in which a connection can arrive.
type class int

const (
	socket class = 1 << iota
	plain
	tls
	gssenc
)

// classes returns what a record type matches, 0 for an unknown type. A TCP
// connection is encrypted by TLS, by GSSAPI or not at all; hostnossl takes the
// last two.
func classes(recordType string) class {
	switch recordType {
	case "local":
		return socket
	case "host":
		return plain | tls | gssenc
	case "hostssl":
		return tls
	case "hostnossl":
		return plain | gssenc
	case "hostgssenc":
		return gssenc
	case "hostnogssenc":
		return plain | tls
	}
	return 0
}

// relation is how much of what is wanted a record, a column or a word has. The
// order of the values is used: the relation of a record is the least of its
// columns', that of a list the greatest of its words'.
type relation int

const (
	none relation = iota // certainly nothing
	some                 // a part, or it cannot be told from the file alone
	full                 // certainly everything
)

// relate tells which of the connections that want is about the record have
// matches.
func relate(have, want Rule) relation {
	result := full
	switch h, w := classes(have.Type), classes(want.Type); {
	case h&w == 0:
		return none
	case w&^h != 0:
		result = some
	}
	result = min(result,
		relateList(have.Databases, want.Databases, func(h, w Token) relation {
			return relateDatabase(h, w, want.Users)
		}),
		relateList(have.Users, want.Users, relateUser))
	if want.Type != "local" {
		result = min(result, relateAddress(have, want))
	}
	return result
}

func relateList(have, want []Token, relateWord func(have, want Token) relation) relation {
	least, greatest := full, none
	for _, w := range want {
		best := none
		for _, h := range have {
			best = max(best, relateWord(h, w))
		}
		least, greatest = min(least, best), max(greatest, best)
	}
	if greatest > none && least < full {
		return some
	}
	return least
}

// relateDatabase follows check_db: a physical replication connection matches
// the keyword replication and nothing else, not even all; any other connection
// never matches that keyword.
func relateDatabase(have, want Token, users []Token) relation {
	switch {
	case sameToken(have, want), isName(have) && isName(want) && have.Value == want.Value:
		return full
	case isFile(have) || isFile(want): // may list replication
		return some
	case have.is("replication") || want.is("replication"):
		return none
	case have.is("all"):
		return full
	case isName(want) && have.is("sameuser"):
		return relateList([]Token{want}, users, relateUser)
	case isName(want) && isName(have):
		return none
	}
	return some
}

// isName reports whether a word of the DATABASE column is just a name.
func isName(t Token) bool {
	switch {
	case isRegex(t) || isFile(t):
		return false
	case t.Quoted:
		return true
	}
	return !slices.Contains([]string{"all", "replication", "sameuser", "samerole", "samegroup"}, t.Value)
}

// relateUser follows check_role. Members of a +group are known to the server
// only, and its regular expressions are not Go's.
func relateUser(have, want Token) relation {
	switch {
	case sameToken(have, want), have.is("all"):
		return full
	case isRole(have) && isRole(want) && have.Value == want.Value:
		return full
	case isRole(have) && isRole(want):
		return none
	}
	return some
}

// isRole reports whether a word of the USER column is just a name.
func isRole(t Token) bool {
	return !isRegex(t) && !isFile(t) && !isGroup(t) && !t.is("all")
}

// relateAddress treats what only the server can resolve, host names and its own
// addresses, as a possible match.
func relateAddress(have, want Rule) relation {
	if have.Address == "all" || have.Address == want.Address && have.Mask == want.Mask {
		return full
	}
	h, hIsNet := networkOf(have)
	w, wIsNet := networkOf(want)
	switch {
	case hIsNet && wIsNet && h.covers(w):
		return full
	case hIsNet && wIsNet && !h.overlaps(w):
		return none
	case hIsNet || wIsNet:
		return some
	case have.Address == "samenet" && want.Address == "samehost":
		return full
	case isAddressKeyword(have.Address) || isAddressKeyword(want.Address):
		return some
	case hostMatches(have.Address, want.Address):
		return full
	}
	return some
}

// hostMatches follows hostname_match: names compare without case, and a pattern
// with a leading dot matches every name (and narrower pattern) that ends in it.
func hostMatches(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	return pattern == name || strings.HasPrefix(pattern, ".") && strings.HasSuffix(name, pattern)
}
