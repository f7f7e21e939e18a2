package live

import (
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// binaries is what belongs to the server's programs. It does not change during a
// run, and is slow to find out.
type binaries struct {
	dir, icu, libDir string
	libs             []string
}

// parseBinaries reads what the script tells of each directory of programs, for
// the one that was chosen.
func parseBinaries(r record, dir string) binaries {
	b := binaries{dir: dir}
	of := func(key string) []string {
		var out []string
		for _, v := range r.values[key] {
			if value, ok := strings.CutPrefix(v, dir+"="); ok && value != "" {
				out = append(out, value)
			}
		}
		return out
	}
	if v := of("icu"); len(v) > 0 {
		b.icu, _, _ = strings.Cut(v[0], "\n")
	}
	if v := of("libdir"); len(v) > 0 {
		b.libDir = v[0]
	}
	b.libs = of("lib")
	slices.Sort(b.libs)
	return b
}

func (b binaries) complete(m facts.Machine) facts.Machine {
	if m.BinDirectory == b.dir {
		m.ICU, m.LibDirectory, m.Libraries = b.icu, b.libDir, b.libs
	}
	return m
}
