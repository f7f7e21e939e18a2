package inventory

import (
	"path"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// Archive is one place where WAL files are kept.
type Archive struct {
	Directory string // the same path on every host that reaches it
	// Shared: all hosts reach one and the same directory there, as by NFS.
	// Otherwise each standby has its own, which archive_command of the primary
	// fills, and removes from it what it needs no longer.
	Shared bool
	// Create: a bootstrap may make the directory, if its parent is there.
	Create bool
}

type archiveSection struct {
	section
	Directory value[absPath] `yaml:"directory" required:"true" doc:"directory of WAL files, the same path on every host that reaches it"`
	Shared    value[boolean] `yaml:"shared" default:"true" doc:"all hosts reach one directory there, as by NFS; false: each standby has its own, which it also cleans"`
	Create    value[boolean] `yaml:"create" default:"false" doc:"a bootstrap may make the directory"`
}

func (s *archiveSection) decode(d *decoder, n *yaml.Node, path string) { d.into(n, path, s) }

type archiveList struct {
	section
	items []*archiveSection
}

func (l *archiveList) decode(d *decoder, n *yaml.Node, path string) {
	items, _ := d.sequence(n, path)
	for _, item := range items {
		a := &archiveSection{}
		a.mark(d.pos(item))
		a.decode(d, item, path)
		fillDefaults(a)
		l.items = append(l.items, a)
	}
}

func (l *archiveList) archives() []Archive {
	var out []Archive
	for _, a := range l.items {
		out = append(out, Archive{Directory: a.Directory.Value, Shared: a.Shared.Value == "true", Create: a.Create.Value == "true"})
	}
	return out
}

func archiveNodes(archives []Archive) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, a := range archives {
		m := newMapping()
		m.text("directory", a.Directory)
		m.plain("shared", strconv.FormatBool(a.Shared))
		m.plain("create", strconv.FormatBool(a.Create))
		list.Content = append(list.Content, m.node)
	}
	return list
}

// archives refuses what a copy, or the emptying of a directory, would meet too.
func (c *checker) archives() {
	items := c.doc.Archive.items
	if len(items) > 2 {
		c.add(items[2].at, "archive", "", "at most two archives")
	}
	for i, a := range items {
		dir := a.Directory.Value
		if dir == "" {
			continue
		}
		for _, b := range items[:i] {
			if path.Clean(b.Directory.Value) == path.Clean(dir) {
				c.add(a.Directory.at, "archive.directory", "", "%s is given twice", dir)
			}
		}
		for _, d := range c.drafts {
			for _, p := range d.places() {
				if within(p.dir, dir) || within(dir, p.dir) {
					c.add(a.Directory.at, "archive.directory", "", "%s and %s %s of %s are one within the other", dir, p.what, p.dir, d.name)
					break
				}
			}
		}
	}
	if len(items) > 0 {
		c.owned("is made from archive:", "restore_command", "archive_cleanup_command")
	}
}

// place is a directory of a server that is there for nothing else.
type place struct{ what, dir string }

func (d *draft) places() []place {
	all := []place{{"the data directory", d.pg.DataDirectory.Value}, {"the WAL directory", d.pg.WALDirectory.Value}}
	for _, t := range d.pg.Tablespaces.items {
		all = append(all, place{"the tablespace", t.value})
	}
	return slices.DeleteFunc(all, func(p place) bool { return p.dir == "" })
}
