package inventory

import (
	"reflect"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// draft is a host on its way from the document to a Host: the cluster's
// sections are merged in and defaults filled, but values are still texts with
// places, for the checks.
type draft struct {
	*hostEntry
	pg  postgresSection
	ssh sshSection
}

// merger is a field whose override adds to it instead of replacing it.
type merger interface{ merge(over field) }

func (m *settingMap) merge(over field) {
	m.items = slices.Clone(m.items) // the cluster's list is every host's
	for _, s := range over.(*settingMap).items {
		same := func(t setting) bool { return strings.EqualFold(t.name, s.name) }
		if i := slices.IndexFunc(m.items, same); i >= 0 {
			m.items[i] = s
		} else {
			m.items = append(m.items, s)
		}
	}
}

func (m *pathMap) merge(over field) {
	m.items = slices.Clone(m.items)
	for _, p := range over.(*pathMap).items {
		same := func(q pair) bool { return q.key == p.key }
		if i := slices.IndexFunc(m.items, same); i >= 0 {
			m.items[i] = p
		} else {
			m.items = append(m.items, p)
		}
	}
}

// overlay puts what over gives on top of base, key by key.
func overlay(base, over field) {
	fields := fieldsOf(base)
	for i, o := range fieldsOf(over) {
		if o.field.place().Line == 0 {
			continue
		}
		if m, ok := fields[i].field.(merger); ok {
			m.merge(o.field)
			continue
		}
		reflect.ValueOf(fields[i].field).Elem().Set(reflect.ValueOf(o.field).Elem())
	}
}

// fillDefaults sets the keys that were given nowhere and have a default tag.
func fillDefaults(s field) {
	for _, f := range fieldsOf(s) {
		text, ok := f.tag.Lookup("default")
		if !ok || f.field.place().Line != 0 {
			continue
		}
		f.field.(interface{ setDefault(string) }).setDefault(text)
	}
}

// drafted merges the cluster's sections into the hosts and fills defaults.
func drafted(doc *document) []*draft {
	fillDefaults(&doc.Replication)
	fillDefaults(&doc.Traffic)
	primary := ""
	for _, h := range doc.Hosts.items {
		if h.Role.Value == string(Primary) {
			primary = h.name
			break
		}
	}
	var drafts []*draft
	for _, h := range doc.Hosts.items {
		dr := &draft{hostEntry: h, pg: doc.Postgres, ssh: doc.SSH}
		overlay(&dr.pg, &h.Postgres)
		overlay(&dr.ssh, &h.SSH)
		dr.ssh.dropOverridden(&h.SSH)
		fillDefaults(&dr.pg)
		fillDefaults(&dr.ssh)
		dr.pg.derive()
		dr.derive(primary, doc.Replication.Slots.Value == "true")
		drafts = append(drafts, dr)
	}
	return drafts
}

// dropOverridden removes what the cluster gives and the host's own values
// exclude: a host that has a proxy command of its own has no jump host.
func (s *sshSection) dropOverridden(host *sshSection) {
	if host.ProxyCommand.given() && !host.Jump.given() {
		s.Jump = value[jump]{}
	}
	if host.Jump.given() && !host.ProxyCommand.given() {
		s.ProxyCommand = argv{}
	}
	if host.Become.Value == BecomeNone && !host.BecomePassword.given() {
		s.BecomePassword = secretSection{}
	}
}

func (d *draft) derive(primary string, slots bool) {
	if !d.Address.given() {
		d.Address.Value = d.name
	}
	if d.Role.Value != string(Standby) {
		return
	}
	if !d.Upstream.given() {
		d.Upstream.Value = primary
	}
	if slots && !d.Slot.given() {
		d.Slot.Value = postgres.SlotName(d.name)
	}
}

func (p *postgresSection) derive() {
	if !p.ConfigDirectory.given() {
		p.ConfigDirectory.Value = p.DataDirectory.Value
	}
	if !p.Superuser.given() {
		p.Superuser.Value = p.OSUser.Value
	}
	ver, name, debian := debianCluster(p.ConfigDirectory.Value)
	s := &p.Service
	if !s.given() {
		s.Kind.Value = ServicePgCtl
		if debian {
			s.Kind.Value = ServicePgCtlCluster
		}
	}
	if s.Name.given() {
		return
	}
	switch {
	case s.Kind.Value == ServicePgCtlCluster && debian:
		s.Name.Value = name
	case s.Kind.Value == ServicePgCtlCluster:
		s.Name.Value = "main"
	case s.Kind.Value == ServiceSystemd && debian:
		s.Name.Value = "postgresql@" + ver + "-" + name // postgresql-common's template unit
	}
}

// debianCluster splits the configuration directory that postgresql-common
// makes: /etc/postgresql/VERSION/NAME.
func debianCluster(dir string) (version, name string, ok bool) {
	rest, ok := strings.CutPrefix(strings.TrimRight(dir, "/"), "/etc/postgresql/")
	if !ok {
		return "", "", false
	}
	version, name, ok = strings.Cut(rest, "/")
	if !ok || version == "" || name == "" || strings.Contains(name, "/") {
		return "", "", false
	}
	return version, name, true
}
