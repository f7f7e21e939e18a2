// Package hostile gives hostile strings to everything that reads what this
// project writes: shells, PostgreSQL and its files, libpq, sshd, sftp-server and
// rsync. The strings go through the code that the product uses, and the real
// program says what it read. Every string must come back byte for byte or be
// refused by our own code, for a reason that is named here; nothing in it may be
// executed.
package hostile

import (
	"flag"
	"iter"
	"os"
	"sync"
	"testing"
)

var (
	size = flag.Int("strings", 300, "how many strings each sink is given")
	seed = flag.Uint64("seed", 1, "another seed gives other strings")
	out  = flag.String("figures", "", "a file for the figures; each sink must have been given 10000 strings")
)

const bar = 10000

func TestHostileStrings(t *testing.T) {
	t.Logf("seed %d, %d strings a sink", *seed, *size)
	var l ledger
	t.Run("sinks", func(t *testing.T) {
		for _, c := range []struct {
			name string
			test func(*testing.T, *ledger)
		}{{"shells", shells}, {"server", server}, {"ssh", secureShell}, {"filters", filters}, {"copy", copies}} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.test(t, &l)
			})
		}
	})
	if len(l.all) == 0 {
		return // with -short
	}
	if err := table(os.Stdout, l.sorted()); err != nil {
		t.Error(err)
	}
	if *out == "" {
		return
	}
	r := figuresOf(l.sorted(), bar)
	if err := r.Write(*out); err != nil {
		t.Error(err)
	}
	if !r.OK() {
		t.Error("a bar was missed")
	}
}

// ledger collects the tallies of sinks that are tested side by side.
type ledger struct {
	mu  sync.Mutex
	all []*tally
}

// sink gives a tally to one goroutine; several may count for one sink.
func (l *ledger) sink(name string) *tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &tally{sink: name}
	l.all = append(l.all, s)
	return s
}

// batches splits strings into runs of at most n strings and, but for a longer
// one, of size bytes. The number is that of the first.
func batches(all []string, n, size int) iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		for at := 0; at < len(all); {
			end, bytes := at+1, len(all[at])
			for end < len(all) && end-at < n && bytes+len(all[end]) <= size {
				bytes += len(all[end])
				end++
			}
			if !yield(at, all[at:end]) {
				return
			}
			at = end
		}
	}
}
