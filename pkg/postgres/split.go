package postgres

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Sizes divides the files of a directory tree over the streams of a copy, by what
// it has seen of them.
//
// A stream is no list of files. A server that is copied makes and removes files all
// the time: what is on no list is lost, and what is no longer there is an error.
// It is a list of rules about names, and the rules of all streams together give
// each possible name to one stream, and to one only. So whatever is in the tree when
// a stream comes by is copied once, also what nobody had seen before, and each stream
// deletes from the target (--delete) what the source does not have, of its own
// names alone. The sizes make the streams even; they need not be right.
//
// Only files of relations get rules by name: theirs are of digits, letters and
// dots. Any other name, however hostile, is at most matched by its last two
// characters.
type Sizes struct {
	large []sized // not more than twice maxLarge
	kinds map[string]int64
	bytes int64
}

type sized struct {
	name  string // path in the tree, with a leading slash; or a kind
	bytes int64
}

const (
	// maxLarge files have a rule of their own: rsync tries all rules on each file.
	maxLarge = 128
	// large is what is worth a rule.
	large = 1 << 20
)

var relationFile = regexp.MustCompile(`^(base/[0-9]+|global|[0-9]+)/[0-9]+(_fsm|_vm|_init)?(\.[0-9]+)?$`)

// Add takes a file's path in the tree, and its size.
func (s *Sizes) Add(name string, bytes int64) {
	s.bytes += bytes
	if bytes < large || !relationFile.MatchString(name) {
		s.kind(name, bytes)
		return
	}
	s.large = append(s.large, sized{"/" + name, bytes})
	if len(s.large) >= 2*maxLarge {
		s.shrink()
	}
}

// Bytes are those of all files seen.
func (s *Sizes) Bytes() int64 { return s.bytes }

func (s *Sizes) kind(name string, bytes int64) {
	if s.kinds == nil {
		s.kinds = map[string]int64{}
	}
	s.kinds[kindOf(name)] += bytes
}

// shrink leaves the largest files.
func (s *Sizes) shrink() {
	slices.SortFunc(s.large, bySize)
	for _, f := range s.large[min(len(s.large), maxLarge):] {
		s.kind(f.name, f.bytes)
	}
	s.large = s.large[:min(len(s.large), maxLarge)]
}

func bySize(a, b sized) int {
	return cmp.Or(cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.name, b.name))
}

// kindOf is the end of a name that ends as relations and their segments do: two
// digits, or a dot and a digit. All others are of one kind, which has no name.
func kindOf(name string) string {
	if len(name) < 2 {
		return ""
	}
	end := name[len(name)-2:]
	if digit(end[1]) && (digit(end[0]) || end[0] == '.') {
		return end
	}
	return ""
}

// rank is 0 of a file, 1 of a kind.
func rank(f sized) int {
	if f.name[0] == '/' {
		return 0
	}
	return 1
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// Split gives the rules of n streams, as options of rsync that come after those that
// leave files out. The first stream has all that no other has. What is expected in
// each of them is in the second result.
func (s *Sizes) Split(n int) ([][]string, []int64) {
	s.shrink()
	all := slices.Clone(s.large)
	for k, b := range s.kinds {
		if k != "" && b > 0 {
			all = append(all, sized{k, b})
		}
	}
	slices.SortFunc(all, bySize)
	share := make([]int64, n)
	share[0] = s.kinds[""]
	of := map[string]int{}
	for _, f := range all {
		least := 0
		for i := range share {
			if share[i] < share[least] {
				least = i
			}
		}
		of[f.name] = least
		share[least] += f.bytes
	}
	out := make([][]string, n)
	if n == 1 {
		return out, share
	}
	// By name before by kind: rsync's first match counts.
	slices.SortFunc(all, func(a, b sized) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.name, b.name))
	})
	for i := range out {
		// Directories are of all streams. They may end as files do.
		out[i] = append(out[i], "--include=*/")
		for _, f := range all {
			file, pattern := rank(f) == 0, f.name
			if !file {
				pattern = "*" + pattern
			}
			switch mine := of[f.name] == i; {
			case mine && (file || i > 0):
				out[i] = append(out[i], "--include="+pattern)
			case !mine && (file || i == 0):
				out[i] = append(out[i], "--exclude="+pattern)
			}
		}
		if i > 0 {
			out[i] = append(out[i], "--exclude=*")
		}
	}
	return out, share
}
