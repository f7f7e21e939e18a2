package inventory

import (
	"slices"
	"strconv"
	"time"
)

// built turns checked drafts into the Cluster.
func built(file string, doc *document, drafts []*draft) *Cluster {
	c := &Cluster{
		Name: doc.Cluster.Value,
		File: file,
		Replication: Replication{
			User:        doc.Replication.User.Value,
			Password:    doc.Replication.Password.ref(),
			SSLMode:     doc.Replication.SSLMode.Value,
			SSLRootCert: doc.Replication.SSLRootCert.Value,
			Binding:     doc.Replication.Binding.Value,
			Slots:       doc.Replication.Slots.Value == "true",
		},
	}
	c.Traffic = doc.Traffic.traffic(&doc.SSH)
	c.Archives = doc.Archive.archives()
	for _, d := range drafts {
		c.Hosts = append(c.Hosts, d.host())
	}
	c.Replication.Synchronous = c.syncRule(doc.Replication.Synchronous.Value)
	return c
}

func (d *draft) host() *Host {
	h := &Host{
		Name:         d.name,
		Address:      d.Address.Value,
		Role:         Role(d.Role.Value),
		UpstreamName: d.Upstream.Value,
		ApplyDelay:   timeOf(d.ApplyDelay.Value),
		Synchronous:  d.Synchronous.Value == "true",
		Relay:        d.Copy.Value == copyRelay,
		Slot:         d.Slot.Value,
		Postgres:     d.pg.postgres(),
		SSH:          d.ssh.ssh(),
		Copying:      Copying{Streams: d.CopyStreams.Value, Compress: d.CopyZstd.Value, BWLimit: d.CopyLimit.Value, CommitLimit: d.CommitLimit.Value},
		Traffic:      d.Traffic.Value,
		Pos:          d.nameAt,
	}
	for _, p := range d.Labels.items {
		if h.Labels == nil {
			h.Labels = make(map[string]string)
		}
		h.Labels[p.key] = p.value
	}
	return h
}

func (p *postgresSection) postgres() Postgres {
	pg := Postgres{
		Version:         p.Version.Value,
		DataDirectory:   p.DataDirectory.Value,
		ConfigDirectory: p.ConfigDirectory.Value,
		BinDirectory:    p.BinDirectory.Value,
		WALDirectory:    p.WALDirectory.Value,
		SocketDirectory: p.SocketDirectory.Value,
		Port:            number(p.Port.Value),
		OSUser:          p.OSUser.Value,
		Superuser:       p.Superuser.Value,
		Service: Service{
			Kind:    p.Service.Kind.Value,
			Name:    p.Service.Name.Value,
			Start:   slices.Clone(p.Service.Start.Args),
			Stop:    slices.Clone(p.Service.Stop.Args),
			Restart: slices.Clone(p.Service.Restart.Args),
			Reload:  slices.Clone(p.Service.Reload.Args),
			Status:  slices.Clone(p.Service.Status.Args),
		},
	}
	for _, s := range p.Settings.items {
		pg.Settings = append(pg.Settings, Setting{Name: s.name, Value: s.value, AtLeast: s.atLeast, Pos: s.at})
	}
	for _, t := range p.Tablespaces.items {
		if pg.Tablespaces == nil {
			pg.Tablespaces = make(map[string]string)
		}
		pg.Tablespaces[t.key] = t.value
	}
	return pg
}

func (s *sshSection) ssh() SSH {
	return SSH{
		User:           s.User.Value,
		Port:           number(s.Port.Value),
		Become:         s.Become.Value,
		BecomePassword: s.BecomePassword.ref(),
		IdentityFile:   slices.Clone(s.IdentityFile.Values),
		Jump:           s.Jump.Value,
		ProxyCommand:   slices.Clone(s.ProxyCommand.Args),
		ConfigFile:     s.ConfigFile.Value,
		KnownHosts:     slices.Clone(s.KnownHosts.Values),
		HostKey:        s.HostKey.Value,
		ConnectTimeout: timeOf(s.ConnectTimeout.Value),
	}
}

func (s *secretSection) ref() SecretRef {
	return SecretRef{Env: s.Env.Value, File: s.File.Value, Command: slices.Clone(s.Command.Args), Pos: s.at}
}

// number and timeOf read texts that their forms have checked; "" is 0.

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

func timeOf(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, _ := parseDuration(text)
	return d
}
