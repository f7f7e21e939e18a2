package inventory

import (
	"path"
	"strconv"
	"strings"
	"time"
)

func (c *checker) replication() {
	r := &c.doc.Replication
	c.binding(r)
	mode, cert := r.SSLMode.Value, r.SSLRootCert.Value
	verify := strings.HasPrefix(mode, "verify-")
	switch {
	case verify && !r.SSLRootCert.given():
		c.add(r.SSLMode.at, "replication.sslmode", "give replication.sslrootcert",
			"%s needs CA certificates to verify with", mode)
	case cert == systemRoots && mode != "" && mode != "verify-full":
		// libpq refuses weaker modes: anyone can get a certificate from a
		// public CA.
		c.add(r.SSLRootCert.at, "replication.sslrootcert", "", "system needs sslmode verify-full")
	case cert == systemRoots:
		for _, d := range c.drafts {
			if v, err := strconv.ParseFloat(d.pg.Version.Value, 64); err == nil && v < 16 {
				c.add(r.SSLRootCert.at, "replication.sslrootcert", "", "system is new in PostgreSQL 16")
			}
		}
	}
}

// binding: libpq would refuse every login without TLS, or by another method than SCRAM.
func (c *checker) binding(r *replicationSection) {
	const at = "replication.channel_binding"
	if r.Binding.Value != BindingRequire {
		return
	}
	if mode := r.SSLMode.Value; mode == "disable" || mode == "allow" || mode == "prefer" {
		c.add(r.Binding.at, at, "give sslmode: require, or a stricter one", "sslmode is %s, and require needs TLS", mode)
	}
	if !r.Password.given() {
		c.add(r.Binding.at, at, "give replication.password", "require needs a password: nothing else logs in by SCRAM")
	}
	for _, d := range c.drafts {
		if v, err := strconv.ParseFloat(d.pg.Version.Value, 64); err == nil && v < 13 {
			c.add(r.Binding.at, at, "", "channel_binding is new in PostgreSQL 13")
			break
		}
	}
}

// directories refuses layouts in which copying or emptying the data directory
// would also meet what is kept out of it.
func (c *checker) directories(d *draft) {
	pg, data := &d.pg, d.pg.DataDirectory.Value
	if w := pg.WALDirectory.Value; data != "" && w != "" && (within(data, w) || within(w, data)) {
		c.add(d.or(pg.WALDirectory.at), d.path("postgres.wal_directory"), "",
			"%s and the data directory %s are one within the other", w, data)
	}
	targets := make(map[string]string)
	for _, t := range pg.Tablespaces.items {
		at := d.path("postgres.tablespaces")
		if data != "" && (within(data, t.value) || within(t.value, data)) {
			c.add(t.at, at, "", "%s and the data directory %s are one within the other", t.value, data)
		}
		clean := path.Clean(t.value)
		if was, dup := targets[clean]; dup {
			c.add(t.at, at, "", "%s and %s both go to %s", was, t.key, t.value)
		}
		targets[clean] = t.key
	}
}

// within reports whether p is dir or below it.
func within(dir, p string) bool {
	dir, p = path.Clean(dir), path.Clean(p)
	return p == dir || strings.HasPrefix(p, dir+"/")
}

func (c *checker) service(d *draft) {
	pg := &d.pg
	s := &pg.Service
	ver, name, debian := debianCluster(pg.ConfigDirectory.Value)
	switch {
	case s.Kind.Value == ServiceSystemd && s.Name.Value == "" && !s.Name.given():
		c.add(d.or(s.at), d.path("postgres.service"), "name the unit, for example postgresql-"+pg.Version.Value,
			"missing key %q", "name")
	case s.Kind.Value != ServicePgCtlCluster || !debian:
	case pg.Version.Value != "" && ver != pg.Version.Value:
		// pg_ctlcluster takes version and name, so it would act on another
		// cluster than the one whose files are edited.
		c.add(d.or(pg.ConfigDirectory.at), d.path("postgres.config_directory"), "",
			"%s is of version %s, but the server is %s", pg.ConfigDirectory.Value, ver, pg.Version.Value)
	case s.Name.given() && s.Name.Value != "" && s.Name.Value != name:
		c.add(s.Name.at, d.path("postgres.service.name"), "",
			"the cluster is named %s, but config_directory is that of %s", s.Name.Value, name)
	}
}

func (c *checker) ssh(d *draft) {
	s := &d.ssh
	if s.Jump.Value != "" && s.Jump.Value != jumpNone && s.ProxyCommand.Args != nil {
		c.add(s.ProxyCommand.at, d.path("ssh.proxy_command"), "remove one of them", "jump is given too")
	}
	if s.Become.Value == BecomeNone && s.BecomePassword.given() {
		c.add(s.BecomePassword.at, d.path("ssh.become_password"), "remove one of them", "become is none")
	}
	for _, arg := range s.ProxyCommand.Args {
		if t := badToken(arg); t != "" {
			c.add(s.ProxyCommand.at, d.path("ssh.proxy_command"), "known: %h, %p, %r and %%", "unknown token %q", t)
		}
	}
	if text := s.ConnectTimeout.Value; text != "" {
		if t, ok := parseDuration(text); !ok || t < time.Millisecond || t > time.Hour {
			c.add(d.or(s.ConnectTimeout.at), d.path("ssh.connect_timeout"), "", "%s is not between 1ms and 1h", text)
		}
	}
}

// badToken returns the first % that is no known token, "" if all are.
func badToken(arg string) string {
	for i := 0; i < len(arg); i++ {
		if arg[i] != '%' {
			continue
		}
		if i+1 == len(arg) || !strings.ContainsRune("hpr%", rune(arg[i+1])) {
			return arg[i:min(i+2, len(arg))]
		}
		i++
	}
	return ""
}
