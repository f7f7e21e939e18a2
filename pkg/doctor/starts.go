package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// startsWith is the value that a setting will have when a standby that is still to be
// made starts, as far as that is known: of the inventory; of what ALTER SYSTEM set on
// it, where that file stays, else on its upstream, which comes along; of its upstream's
// postgresql.conf if that comes along too, else of its own. copied: it is the
// upstream's.
func (p pair) startsWith(name string) (value string, copied bool) {
	pg, up := p.standby.inv.Postgres, p.upstream.inv.Postgres
	for _, s := range pg.Settings {
		if strings.EqualFold(s.Name, name) && !s.AtLeast {
			return s.Value, false
		}
	}
	theirs, _ := p.upstream.settings.Lookup(name)
	altered := path.Base(theirs.SourceFile) == "postgresql.auto.conf"
	if altered && p.auto == nil {
		return theirs.Value, true
	}
	if v, ok := p.own(name); ok {
		return v, false
	}
	switch {
	case pg.ConfigDirectory == pg.DataDirectory && up.ConfigDirectory == up.DataDirectory:
		if altered { // what its postgresql.conf has is not known
			return "", false
		}
		return theirs.Value, true
	case p.config == nil: // not known
		return "", false
	}
	return theirs.BootValue, false
}

// tlsFile is a file that a server reads when it starts with ssl on.
type tlsFile struct {
	setting, path string
	facts.Access
	host string // that was asked
}

// readTLS looks for the files of TLS: what is in the data directory comes from the
// upstream, the rest has to be on the standby.
func (p *pair) readTLS(ctx context.Context) error {
	on, _ := p.startsWith("ssl")
	if !p.target() || !isOn(on) {
		return nil
	}
	var here, there []tlsFile
	for _, name := range []string{"ssl_cert_file", "ssl_key_file", "ssl_ca_file", "ssl_crl_file"} {
		value, _ := p.startsWith(name)
		if value == "" {
			continue
		}
		if in, ok := p.inData(value); ok {
			there = append(there, tlsFile{setting: name, path: path.Join(p.upstream.f.Data.Path, in)})
		} else {
			here = append(here, tlsFile{setting: name, path: value})
		}
	}
	for _, side := range []struct {
		subject
		files []tlsFile
	}{{p.standby, here}, {p.upstream, there}} {
		var paths []string
		for _, f := range side.files {
			paths = append(paths, f.path)
		}
		is, err := side.f.Access(ctx, side.inv.Postgres.OSUser, paths)
		if err != nil {
			return err
		}
		for i, a := range is {
			side.files[i].Access, side.files[i].host = a, side.inv.Name
			p.tls = append(p.tls, side.files[i])
		}
	}
	return nil
}

// inData is a path below the standby's data directory, without that.
func (p pair) inData(file string) (string, bool) {
	if !path.IsAbs(file) {
		return file, true
	}
	for _, dir := range []string{p.standby.inv.Postgres.DataDirectory, p.standby.f.Data.Path} {
		if in, ok := strings.CutPrefix(path.Clean(file), path.Clean(dir)+"/"); ok {
			return in, true
		}
	}
	return "", false
}

func targetTLSFile(p pair) []found {
	var out []found
	for _, f := range p.tls {
		remedy := "put it there; or give another " + f.setting + ", or ssl: off, under settings: of " + p.standby.inv.Name + " in the inventory"
		user := p.standby.inv.Postgres.OSUser
		switch {
		case !f.File:
			out = append(out, one(remedy, "no file %s on %s that %s can see, which is its %s: with ssl on no server starts", f.path, f.host, user, f.setting)...)
		case !f.Read:
			out = append(out, one(remedy, "%s cannot read %s on %s, which is its %s: with ssl on no server starts", user, f.path, f.host, f.setting)...)
		case f.setting == "ssl_key_file" && f.Mode&forbidden(f.Owner) != 0:
			out = append(out, one("sudo chmod go= "+quoted(f.path), "%s on %s has mode %04o: no server starts with a private key that others may read", f.path, f.host, f.Mode)...)
		}
	}
	return out
}

// forbidden is what a private key must not allow: its group may read one of root.
func forbidden(owner string) fs.FileMode {
	if owner == "root" {
		return 0o037
	}
	return 0o077
}

// targetLocale: a session in a database whose locale is not there is refused, and a
// server that is told to use one does not start.
func targetLocale(p pair) []found {
	if !p.target() {
		return nil
	}
	m, name := &p.standby.f.Machine, p.standby.inv.Name
	install := func(l string) string { return "on " + name + ": " + installLocale(l) }
	var out []found
	for _, l := range p.upstream.sorting.Locales {
		if has, known := m.HasLocale(l.Name); known && !has {
			out = append(out, one(install(l.Name), "no locale %s, which database %s of %s has: it would accept no session", l.Name, l.Database, p.upstream.inv.Name)...)
		}
	}
	for _, setting := range []string{"lc_messages", "lc_monetary", "lc_numeric", "lc_time"} {
		value, copied := p.startsWith(setting)
		if has, known := m.HasLocale(value); known && !has {
			from := "its own"
			if copied {
				from = "that of " + p.upstream.inv.Name
			}
			out = append(out, one(install(value), "no locale %s, which is %s, %s: no server starts with it", value, setting, from)...)
			continue
		}
		theirs := p.upstream.setting(setting)
		if has, known := m.HasLocale(theirs); known && !has {
			out = append(out, found{severity: Warn, remedy: install(theirs), text: fmt.Sprintf("no locale %s, which %s has as %s: what depends on it is told in another way here", theirs, p.upstream.inv.Name, setting)})
		}
	}
	return out
}

// standbyArchives: the command that comes from the primary puts the files where the
// primary puts them.
func standbyArchives(p pair) []found {
	value := p.standby.setting
	if p.target() {
		value = func(name string) string { v, _ := p.startsWith(name); return v }
	}
	if !strings.EqualFold(value("archive_mode"), "always") {
		return nil
	}
	how := "archive_library"
	switch command := value("archive_command"); {
	case value("archive_library") != "":
	case command != "" && command != "(disabled)":
		how = "archive_command"
	default:
		return nil
	}
	return one("archive_mode: on under settings: of "+p.standby.inv.Name+" in the inventory; or see that "+how+" takes a file that is there with the same content for done",
		"archive_mode is always: it archives the WAL that it receives, too, by %s", how)
}
