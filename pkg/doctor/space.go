package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// targetSpace compares what comes to each file system with what is free on it.
// What is there already counts for nothing and takes its space again: only an
// empty target can be judged from the free space alone. Of one that is seeded again it is
// known whether the file system could hold the data if nothing else were on it.
func targetSpace(p pair) []found {
	d, m, up := p.standby.f.Data, p.standby.f.Machine, p.upstream.f.Server
	empty := d.State == facts.Absent || d.State == facts.Empty
	if !empty && !p.reseed {
		return nil
	}
	trees := p.trees
	if len(trees) == 0 {
		trees = []tree{{Space: facts.Space{Path: d.Path, FreeBytes: m.FreeBytes, TotalBytes: m.TotalBytes}, bytes: up.SizeBytes}}
	}
	var out []found
	for len(trees) > 0 {
		first := trees[0]
		with := func(t tree) bool { return t.Path == first.Path || t.Device != "" && t.Device == first.Device }
		out = append(out, p.fits(slices.DeleteFunc(slices.Clone(trees), func(t tree) bool { return !with(t) }), empty)...)
		trees = slices.DeleteFunc(slices.Clone(trees), with)
	}
	return out
}

// fits judges the trees of one file system, whose free space counts when nothing of what is
// to come is there yet.
func (p pair) fits(trees []tree, empty bool) []found {
	free, size := trees[0].FreeBytes, int64(0)
	var paths []string
	for _, t := range trees {
		if t.TotalBytes == 0 {
			return nil
		}
		size += t.bytes
		paths = append(paths, t.Path)
	}
	need := size + size/10
	if total := trees[0].TotalBytes; !empty && size > total {
		return one("give a larger file system", "the file system has %s in all, and %s are to come", postgres.PrettyBytes(total), postgres.PrettyBytes(size))
	}
	if !empty || free >= need {
		return nil
	}
	what := "the databases of " + p.upstream.inv.Name
	if len(p.trees) > 0 {
		what = "for " + strings.Join(paths, " and ")
	}
	return one("make room, or give a larger file system", "%s are free, %s are needed (%s and a tenth more)", postgres.PrettyBytes(free), postgres.PrettyBytes(need), what)
}

func targetTablespace(p pair) []found {
	var missing []string
	for _, t := range p.trees[:max(0, len(p.trees)-1)] {
		if !t.Exists {
			missing = append(missing, t.Path)
		}
	}
	slices.Sort(missing)
	user := p.standby.inv.Postgres.OSUser
	var out []found
	for _, dir := range missing {
		out = append(out, one(fmt.Sprintf("sudo install -d -m 700 -o %s -g %s %s", user, user, dir), "no directory %s for a tablespace", dir)...)
	}
	return out
}
