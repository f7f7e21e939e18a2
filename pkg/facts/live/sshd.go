package live

import (
	"path"
	"slices"
	"strings"
)

// sshdConfig is where sshd reads its configuration unless it is told otherwise.
const sshdConfig = "/etc/ssh/sshd_config"

// keyFiles are the files that sshd reads a user's keys from; nil when that cannot
// be known without being root. `sshd -T` would say it, and only to root.
func keyFiles(r record, u login) []string {
	p := sshd{user: u, files: map[string]string{}}
	for _, v := range r.values["sshd"] {
		name, text, _ := strings.Cut(v, "=")
		if _, again := p.files[name]; !again {
			p.files[name] = text
			p.order = append(p.order, name)
		}
	}
	for _, args := range r.values["sshd_args"] {
		p.unknown = p.unknown || otherConfig(args)
	}
	_, readable := p.files[sshdConfig]
	if !readable || r.has("sshd_unread") {
		return nil
	}
	p.read(sshdConfig, global)
	set := p.global
	if p.matched != nil {
		set = p.matched
	}
	if set == nil {
		set = []string{".ssh/authorized_keys", ".ssh/authorized_keys2"}
	}
	out := []string{}
	for _, f := range set {
		if strings.EqualFold(f, "none") {
			continue
		}
		f, ok := u.expand(f)
		if !ok {
			return nil
		}
		out = append(out, f)
	}
	if p.unknown {
		return nil
	}
	return out
}

// otherConfig reports whether a process listens with options that are not in the
// file.
func otherConfig(args string) bool {
	f := strings.Fields(strings.TrimPrefix(args, "sshd: "))
	if len(f) == 0 || !strings.HasPrefix(f[0], "/") {
		return false // of one session
	}
	return slices.ContainsFunc(f[1:], func(a string) bool { return strings.HasPrefix(a, "-f") || strings.HasPrefix(a, "-o") })
}

// login is the user that keys are looked up for.
type login struct{ name, uid, home string }

// expand replaces the tokens of AuthorizedKeysFile.
func (u login) expand(file string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(file); i++ {
		if file[i] != '%' {
			b.WriteByte(file[i])
			continue
		}
		i++
		if i == len(file) {
			return "", false
		}
		switch file[i] {
		case 'h':
			b.WriteString(u.home)
		case 'u':
			b.WriteString(u.name)
		case 'U':
			b.WriteString(u.uid)
		case '%':
			b.WriteByte('%')
		default:
			return "", false
		}
	}
	if out := b.String(); strings.HasPrefix(out, "/") {
		return path.Clean(out), true
	}
	return path.Join(u.home, b.String()), true
}

// scope is what a line applies to.
type scope int

const (
	global  scope = iota // everybody
	applies              // a Match block that is about the user
	not                  // one that is not
	perhaps              // one that depends on more than the user
)

// sshd reads AuthorizedKeysFile as sshd_config(5) says: the first value counts,
// and one in a Match block before one outside of any.
type sshd struct {
	user            login
	files           map[string]string
	order           []string
	global, matched []string
	unknown         bool
	depth           int
}

func (p *sshd) read(file string, where scope) {
	if p.depth++; p.depth > 16 {
		p.unknown = true
		return
	}
	defer func() { p.depth-- }()
	for _, line := range strings.Split(p.files[file], "\n") {
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		keyword, rest, cut := strings.Cut(words[0], "=")
		if words = words[1:]; cut && rest != "" {
			words = append([]string{rest}, words...)
		} else if len(words) > 0 && words[0] == "=" {
			words = words[1:]
		}
		if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "#") }); i >= 0 {
			words = words[:i]
		}
		switch strings.ToLower(keyword) {
		case "include":
			p.include(words, where)
		case "match":
			where = p.match(words)
		case "authorizedkeysfile":
			p.set(words, where)
		}
	}
}

func (p *sshd) set(files []string, where scope) {
	if slices.ContainsFunc(files, quoted) {
		p.unknown = true
	}
	switch {
	case where == global && p.global == nil:
		p.global = files
	case where == applies && p.matched == nil:
		p.matched = files
	case where == perhaps:
		p.unknown = true
	}
}

// include reads the files in the order of their names, as glob(3) gives them.
func (p *sshd) include(patterns []string, where scope) {
	for _, pattern := range patterns {
		if quoted(pattern) {
			p.unknown = true
			continue
		}
		if !strings.HasPrefix(pattern, "/") {
			pattern = path.Join(path.Dir(sshdConfig), pattern)
		}
		var names []string
		for _, f := range p.order {
			if ok, err := path.Match(pattern, f); ok && err == nil {
				names = append(names, f)
			}
		}
		slices.Sort(names)
		for _, f := range names {
			p.read(f, where)
		}
	}
}

func (p *sshd) match(words []string) scope {
	if len(words) == 1 && strings.EqualFold(words[0], "all") {
		return applies
	}
	got := applies
	for i := 0; i < len(words); i += 2 {
		switch {
		case i+1 == len(words) || quoted(words[i+1]) || !strings.EqualFold(words[i], "user"):
			got = perhaps
		case !matchList(words[i+1], p.user.name):
			return not
		}
	}
	return got
}

func quoted(w string) bool { return strings.ContainsAny(w, `"'\`) }

// matchList is a list of patterns of ssh_config(5): one that is negated and
// matches decides.
func matchList(list, name string) bool {
	found := false
	for _, pattern := range strings.Split(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if ok, err := path.Match(pattern, name); !ok || err != nil {
			continue
		}
		if negated {
			return false
		}
		found = true
	}
	return found
}
