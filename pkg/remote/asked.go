package remote

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// answers keeps what ssh said of one host for others of which it would say the
// same: it costs more processor time than the connection itself. That is known
// from the files that ssh has read. The zero value is ready; safe for concurrent
// use.
type answers struct {
	mu   sync.Mutex
	kept map[asked]*answer
}

// asked is what a question to ssh consists of, besides the host.
type asked struct {
	config, user string
	port         int
}

// answer is one that was given. Whoever holds turn may ask; the others wait, to
// learn whether they must.
type answer struct {
	turn  sync.Mutex
	known bool
	rules *hostRules // nil: it holds for the one host only
	said  map[string]values
}

// ask is askSSH, or what it would say.
func (a *answers) ask(ctx context.Context, ssh string, t Target) (values, error) {
	key := asked{t.ConfigFile, t.User, t.Port}
	a.mu.Lock()
	if a.kept == nil {
		a.kept = map[asked]*answer{}
	}
	k := a.kept[key]
	if k == nil {
		k = &answer{said: map[string]values{}}
		a.kept[key] = k
	}
	a.mu.Unlock()

	k.turn.Lock()
	if k.known && k.rules == nil {
		k.turn.Unlock()
		v, _, err := askSSH(ctx, ssh, t)
		return v, err
	}
	defer k.turn.Unlock()
	if k.rules != nil {
		if v, ok := k.said[k.rules.matched(t.address())]; ok {
			return v, nil
		}
	}
	v, files, err := askSSH(ctx, ssh, t)
	if err != nil {
		return nil, err
	}
	if !k.known {
		k.known, k.rules = true, readRules(files)
	}
	if shared, ok := v.without(t.address()); ok && k.rules != nil {
		k.said[k.rules.matched(t.address())] = shared
	} else {
		k.rules = nil
	}
	return v, nil
}

// without is what holds for other hosts too: nothing in it has the host's name but
// the name itself, which is what a Target without HostName is dialed by.
func (v values) without(address string) (values, bool) {
	out := values{}
	for key, list := range v {
		switch {
		case key == "host":
		case key == "hostname" && len(list) == 1 && strings.EqualFold(list[0], address):
		case slices.ContainsFunc(list, func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(address)) }):
			return nil, false
		default:
			out[key] = list
		}
	}
	return out, true
}

// hostRules are the patterns of the Host lines in a configuration, in order. Two
// hosts that match the same of them have the same configuration.
type hostRules struct{ lines [][]hostPattern }

type hostPattern struct {
	text *regexp.Regexp
	not  bool
}

// configFile is how ssh -v names each file that it reads.
var configFile = regexp.MustCompile(`(?m)^debug1: Reading configuration data (.*?)\r?$`)

// filesRead is what ssh -v says of the files; nil if it is another ssh.
func filesRead(debug string) []string {
	if !strings.HasPrefix(debug, "OpenSSH_") {
		return nil
	}
	files := []string{}
	for _, m := range configFile.FindAllStringSubmatch(debug, -1) {
		files = append(files, m[1])
	}
	return files
}

// readRules returns nil when more than Host lines tells hosts apart: Match, names
// made canonical, or files included for some hosts only, which need not be among
// those that were read for one.
func readRules(files []string) *hostRules {
	if files == nil {
		return nil
	}
	rules := &hostRules{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil
		}
		some := false // the lines are for some hosts
		for line := range strings.Lines(string(data)) {
			word, rest := keyword(line)
			switch word {
			case "host":
				line := patterns(rest)
				if line == nil {
					return nil
				}
				some = strings.TrimSpace(rest) != "*"
				rules.lines = append(rules.lines, line)
			case "match", "canonicalizehostname", "canonicaldomains":
				return nil
			case "include":
				if some {
					return nil
				}
			}
		}
	}
	return rules
}

func keyword(line string) (word, rest string) {
	line = strings.TrimSpace(line)
	i := strings.IndexAny(line, " \t=")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	rest = strings.TrimLeft(line[i:], " \t")
	rest = strings.TrimLeft(strings.TrimPrefix(rest, "="), " \t")
	return strings.ToLower(line[:i]), rest
}

// patterns reads those of one Host line; nil for what is quoted or commented,
// which is left to ssh.
func patterns(rest string) []hostPattern {
	if strings.ContainsAny(rest, `"'#\`) {
		return nil
	}
	var out []hostPattern
	for _, p := range strings.FieldsFunc(rest, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }) {
		text, not := strings.CutPrefix(p, "!")
		text = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(text))
		out = append(out, hostPattern{regexp.MustCompile("(?is)^" + text + "$"), not})
	}
	return out
}

// matched names the lines that a host matches: one of its patterns, and none that
// is negated.
func (r *hostRules) matched(address string) string {
	var b strings.Builder
	for i, line := range r.lines {
		yes := false
		for _, p := range line {
			if !p.text.MatchString(address) {
				continue
			}
			if yes = !p.not; p.not {
				break
			}
		}
		if yes {
			b.WriteString(strconv.Itoa(i) + " ")
		}
	}
	return b.String()
}
