package doctor

import (
	"slices"
	"strings"
)

// targetLibrary looks for what a start loads. With a configuration of its own the
// standby may load less than its upstream; but what ALTER SYSTEM set there comes
// along, and what works only with a library will not work after a promotion.
func targetLibrary(p pair) []found {
	m := p.standby.f.Machine
	if !p.target() || m.LibDirectory == "" {
		return nil
	}
	ownPath, _ := p.own("dynamic_library_path")
	for _, dirs := range []string{p.upstream.setting("dynamic_library_path"), ownPath} {
		if dirs != "" && dirs != "$libdir" {
			return nil // it may be in any of them
		}
	}
	own, _ := p.own("shared_preload_libraries")
	names := preloaded(p.upstream.setting("shared_preload_libraries") + "," + own)
	var out []found
	for _, name := range names {
		if slices.Contains(m.Libraries, name) || slices.Contains(m.Libraries, name+".so") {
			continue
		}
		out = append(out, one("install the package that has it on "+p.standby.inv.Name+"; or take it out of shared_preload_libraries",
			"no library %s in %s of %s: with it in shared_preload_libraries no server starts there", name, m.LibDirectory, p.standby.inv.Name)...)
	}
	return out
}

// preloaded are the names in a list of libraries that are looked for in $libdir,
// each once.
func preloaded(list string) []string {
	var out []string
	for _, w := range strings.Split(list, ",") {
		name := strings.TrimPrefix(strings.Trim(strings.TrimSpace(w), `"`), "$libdir/")
		if name != "" && !strings.Contains(name, "/") && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}
