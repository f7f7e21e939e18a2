package live

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// binaries is what belongs to the server's programs. It does not change during a
// run, and is slow to find out.
type binaries struct {
	dir, icu, libDir string
	version          postgres.Version
	block, wal       int64             // block sizes
	segment          int64             // in blocks
	clients          map[string]string // psql and pg_dump
	libs             []string
}

// parseBinaries reads what the script tells of each directory of programs, for
// the one that is chosen.
func parseBinaries(r record, wanted string) binaries {
	b := binaries{clients: map[string]string{}}
	b.dir, b.version = pickBin(r.values["bin"], wanted)
	for _, name := range []string{"psql", "pg_dump"} {
		for _, p := range slices.Backward(r.values[name]) { // the server's own comes first
			if strings.HasPrefix(p, "/") {
				b.clients[name] = p
			}
		}
	}
	if b.clients["pg_dump"] == "" {
		if p := cmp.Or(newerDump(r.values["newer_dump"], wanted), r.get("path_dump")); p != "" {
			b.clients["pg_dump"] = p
		}
	}
	of := func(key string) []string {
		var out []string
		for _, v := range r.values[key] {
			if value, ok := strings.CutPrefix(v, b.dir+"="); ok && value != "" {
				out = append(out, value)
			}
		}
		return out
	}
	number := func(key string) int64 {
		v := of(key)
		if len(v) == 0 {
			return 0
		}
		n, err := strconv.ParseInt(strings.TrimSpace(v[0]), 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	b.block, b.wal, b.segment = number("block_size"), number("wal_block_size"), number("segment_size")
	if v := of("icu"); len(v) > 0 {
		first, _, _ := strings.Cut(v[0], "\n")
		b.icu = strings.TrimPrefix(first, "libicui18n.so.")
	}
	if v := of("libdir"); len(v) > 0 {
		b.libDir = v[0]
	}
	b.libs = of("lib")
	slices.Sort(b.libs)
	return b
}

// newerDump is the oldest of those, "VERSION=PATH", that can dump a server of the wanted major
// version.
func newerDump(found []string, wanted string) string {
	want, err := postgres.ParseVersion(wanted)
	if err != nil {
		return ""
	}
	var best string
	var of postgres.Version
	for _, f := range found {
		text, p, _ := strings.Cut(f, "=")
		if v, err := postgres.ParseVersion(text); err == nil && v >= want && (best == "" || v < of) {
			best, of = p, v
		}
	}
	return best
}

func (b binaries) complete(m facts.Machine) facts.Machine {
	m.BinDirectory, m.BinVersion = b.dir, b.version
	m.BlockSize, m.WALBlockSize, m.SegmentBlocks = b.block, b.wal, b.segment
	m.ICU, m.LibDirectory, m.Libraries = b.icu, b.libDir, b.libs
	if m.Tools = maps.Clone(m.Tools); m.Tools != nil {
		maps.Copy(m.Tools, b.clients)
	}
	return m
}
