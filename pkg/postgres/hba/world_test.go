package hba

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// connection is one login attempt, and world is all that only a server knows.
// Together they make the matching of records plain, without any "may": this is
// what Ensure's promise is held against.
type connection struct {
	class    class
	physical bool // replication
	database string
	user     string
	ip       netip.Addr
}

type world struct {
	members map[string][]string // of roles
	files   map[string][]string // lists behind @file
	names   map[string]string   // reverse DNS
	own     []netip.Prefix      // interfaces
	regex   map[string]*regexp.Regexp
}

func theWorld() world {
	return world{
		members: map[string][]string{"g": {"a", "r"}, "h": {"b"}},
		files:   map[string][]string{"f": {"a", "replication"}},
		names:   map[string]string{"10.0.0.1": "db1.example.org", "10.0.0.2": "db2.example.org", "10.1.0.1": "other.net"},
		own:     []netip.Prefix{netip.MustParsePrefix("10.0.0.9/24"), netip.MustParsePrefix("127.0.0.1/8")},
		regex:   map[string]*regexp.Regexp{"/^a": regexp.MustCompile("^a"), "/^r": regexp.MustCompile("^r")},
	}
}

func allConnections() []connection {
	var all []connection
	for _, class := range []class{socket, plain, tls, gssenc} {
		for _, user := range []string{"a", "b", "r", "all", "+g"} {
			for _, database := range []string{"", "a", "b", "g", "replication", "all"} {
				for _, ip := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.9", "10.1.0.1", "192.168.0.1", "2001:db8::1"} {
					c := connection{class, database == "", database, user, netip.MustParseAddr(ip)}
					if class == socket && ip != "10.0.0.1" {
						continue
					}
					all = append(all, c)
				}
			}
		}
	}
	return all
}

func (w world) matches(r Rule, c connection) bool {
	switch r.Type {
	case "local":
		if c.class != socket {
			return false
		}
	case "host":
		if c.class == socket {
			return false
		}
	case "hostssl":
		if c.class != tls {
			return false
		}
	case "hostnossl":
		if c.class == socket || c.class == tls {
			return false
		}
	case "hostgssenc":
		if c.class != gssenc {
			return false
		}
	case "hostnogssenc":
		if c.class != plain && c.class != tls {
			return false
		}
	}
	return w.database(r.Databases, c) && w.user(r.Users, c) && (c.class == socket || w.address(r, c))
}

func (w world) expand(tokens []Token) []Token {
	var all []Token
	for _, t := range tokens {
		if t.Quoted || !strings.HasPrefix(t.Value, "@") {
			all = append(all, t)
			continue
		}
		for _, name := range w.files[t.Value[1:]] {
			all = append(all, Token{Value: name})
		}
	}
	return all
}

func (w world) database(tokens []Token, c connection) bool {
	return slices.ContainsFunc(w.expand(tokens), func(t Token) bool {
		switch {
		case c.physical:
			return !t.Quoted && t.Value == "replication"
		case !t.Quoted && t.Value == "all":
			return true
		case !t.Quoted && t.Value == "sameuser":
			return c.database == c.user
		case !t.Quoted && (t.Value == "samerole" || t.Value == "samegroup"):
			return slices.Contains(w.members[c.database], c.user)
		case !t.Quoted && t.Value == "replication":
			return false
		case strings.HasPrefix(t.Value, "/"):
			return w.regex[t.Value].MatchString(c.database)
		}
		return t.Value == c.database
	})
}

func (w world) user(tokens []Token, c connection) bool {
	return slices.ContainsFunc(w.expand(tokens), func(t Token) bool {
		switch {
		case !t.Quoted && strings.HasPrefix(t.Value, "+"):
			return slices.Contains(w.members[t.Value[1:]], c.user)
		case !t.Quoted && t.Value == "all":
			return true
		case strings.HasPrefix(t.Value, "/"):
			return w.regex[t.Value].MatchString(c.user)
		}
		return t.Value == c.user
	})
}

func (w world) address(r Rule, c connection) bool {
	name := w.names[c.ip.String()]
	switch {
	case r.Address == "all":
		return true
	case r.Address == "samehost":
		return slices.ContainsFunc(w.own, func(p netip.Prefix) bool { return p.Addr() == c.ip })
	case r.Address == "samenet":
		return slices.ContainsFunc(w.own, func(p netip.Prefix) bool { return p.Contains(c.ip) })
	case r.Mask != "":
		ip, mask, have := netip.MustParseAddr(r.Address).AsSlice(), netip.MustParseAddr(r.Mask).AsSlice(), c.ip.AsSlice()
		if len(ip) != len(have) {
			return false
		}
		for i := range ip {
			if ip[i]&mask[i] != have[i]&mask[i] {
				return false
			}
		}
		return true
	case strings.Contains(r.Address, "/"):
		return netip.MustParsePrefix(r.Address).Contains(c.ip)
	case strings.HasPrefix(r.Address, "."):
		return strings.HasSuffix(name, strings.ToLower(r.Address))
	}
	return name != "" && name == strings.ToLower(r.Address)
}

// answer is what the first matching record asks of the connection.
func (w world) answer(rules []Rule, c connection) string {
	for _, r := range rules {
		if w.matches(r, c) {
			options := slices.Sorted(slices.Values(r.Options))
			method := r.Method
			if r.Type == "local" && method == "ident" {
				method = "peer"
			}
			return method + " " + strings.Join(options, " ")
		}
	}
	return "no entry"
}

func randomRule(r *rand.Rand) Rule {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	list := func(words ...string) []Token {
		var all []Token
		for range 1 + r.IntN(2) {
			t := Token{Value: pick(words...), Quoted: r.IntN(6) == 0}
			if t.Value[0] == '/' {
				t.Quoted = false
			}
			all = append(all, t)
		}
		return all
	}
	rule := Rule{
		Type:      pick("local", "host", "host", "hostssl", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"),
		Databases: list("all", "all", "replication", "replication", "replication", "a", "b", "sameuser", "samerole", "@f", "/^a", "g"),
		Users:     list("all", "all", "a", "b", "r", "r", "+g", "+h", "@f", "/^r"),
		Method:    pick("trust", "reject", "md5", "md5", "scram-sha-256"),
	}
	if rule.Type == "local" {
		rule.Method = pick("peer", "ident", "md5", "reject")
	} else {
		rule.Address = pick("all", "samehost", "samenet", "10.0.0.1/32", "10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0", "10.1.0.1/16", "::/0", "2001:db8::1/128",
			"db1.example.org", "DB1.example.org", ".example.org", ".org", "10.0.0.0 255.0.0.255", "10.0.0.1 255.255.255.255")
		rule.Address, rule.Mask, _ = strings.Cut(rule.Address, " ")
	}
	if r.IntN(8) == 0 {
		rule.Options = []string{"x=1", "y=2"}
		if r.IntN(2) == 0 {
			slices.Reverse(rule.Options)
		}
	}
	return rule
}

// narrowed is a rule that r covers, or nearly.
func narrowed(random *rand.Rand, r Rule) Rule {
	if random.IntN(2) == 0 && r.Type == "host" {
		r.Type = "hostssl"
	}
	if random.IntN(2) == 0 {
		r.Users = r.Users[:1]
	}
	if random.IntN(2) == 0 && r.Users[0].is("all") {
		r.Users = []Token{{Value: "r"}}
	}
	if random.IntN(2) == 0 && r.Type != "local" {
		r.Address, r.Mask = "10.0.0.1/32", ""
	}
	return r
}

// Behind Ensure every connection of the rule is
// answered the rule's way, every other one as before, and a second Ensure finds
// nothing to do.
func TestEnsureKeepsItsPromiseInAWorldWhereEverythingIsKnown(t *testing.T) {
	t.Parallel()
	w := theWorld()
	connections := allConnections()
	random := rand.New(rand.NewPCG(1, 2))
	inserted, untouched, front := 0, 0, 0
	for range 1000 {
		var text bytes.Buffer
		for range random.IntN(5) {
			line, err := format(randomRule(random), "")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&text, line)
		}
		want := randomRule(random)
		if rules := Parse(text.Bytes()).Rules(); len(rules) > 0 && random.IntN(2) == 0 {
			want = narrowed(random, rules[random.IntN(len(rules))])
		}
		f := Parse(text.Bytes())
		before := f.Rules()
		at, changed, err := f.Ensure(want, "")
		if err != nil {
			t.Fatal(err)
		}
		after := f.Rules()
		switch {
		case !changed:
			untouched++
		case at <= len(before):
			front++
		default:
			inserted++
		}
		for _, c := range connections {
			expect := w.answer(before, c)
			if w.matches(want, c) {
				expect = w.answer([]Rule{want}, c)
			}
			if got := w.answer(after, c); got != expect {
				t.Fatalf("%+v is answered %q, not %q\nbefore:\n%s\nwanted: %+v\nafter:\n%s", c, got, expect, text.Bytes(), want, f.Bytes())
			}
		}
		if again, changed, err := f.Ensure(want, ""); again != at || changed || err != nil {
			t.Fatalf("second Ensure: %d, %v, %v, first was %d\n%s", again, changed, err, at, f.Bytes())
		}
	}
	// A generator that always lands in one case would prove little.
	if inserted < 100 || front < 100 || untouched < 100 {
		t.Errorf("appended %d, put before another %d, untouched %d", inserted, front, untouched)
	}
}
