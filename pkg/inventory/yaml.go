package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// YAML writes the cluster as an inventory in which every host has all of its
// values itself, so that what was default, shared or derived can be seen.
// Parse reads it as the same cluster. Secrets stay references.
func (c *Cluster) YAML() ([]byte, error) {
	top := newMapping()
	top.text("cluster", c.Name)
	r := newMapping()
	r.text("user", c.Replication.User)
	r.secret("password", c.Replication.Password)
	r.text("sslmode", c.Replication.SSLMode)
	r.text("sslrootcert", c.Replication.SSLRootCert)
	r.text("channel_binding", c.Replication.Binding)
	r.plain("slots", strconv.FormatBool(c.Replication.Slots))
	r.text("synchronous", c.Replication.Synchronous.String())
	top.set("replication", r.node)
	if len(c.Traffic.Balancers) > 0 {
		top.set("traffic", c.Traffic.node())
	}
	if len(c.Archives) > 0 {
		top.set("archive", archiveNodes(c.Archives))
	}
	hosts := newMapping()
	for _, h := range c.Hosts {
		hosts.set(h.Name, h.node())
	}
	top.set("hosts", hosts.node)
	out, err := yaml.Dump(top.node)
	if err != nil {
		return nil, fmt.Errorf("write inventory: %w", err)
	}
	return out, nil
}

func (h *Host) node() *yaml.Node {
	m := newMapping()
	m.text("address", h.Address)
	m.text("role", string(h.Role))
	m.text("upstream", h.UpstreamName)
	if h.ApplyDelay != 0 {
		m.text("apply_delay", formatDuration(h.ApplyDelay))
	}
	if h.Synchronous {
		m.plain("synchronous", "true")
	}
	if h.Relay {
		m.text("copy", copyRelay)
	}
	m.text("slot", h.Slot)
	m.set("postgres", h.Postgres.node())
	m.set("ssh", h.SSH.node())
	m.texts("labels", h.Labels)
	m.text("traffic", h.Traffic)
	return m.node
}

func (p *Postgres) node() *yaml.Node {
	m := newMapping()
	m.plain("version", p.Version)
	m.text("data_directory", p.DataDirectory)
	m.text("config_directory", p.ConfigDirectory)
	m.text("bin_directory", p.BinDirectory)
	m.text("wal_directory", p.WALDirectory)
	m.text("socket_directory", p.SocketDirectory)
	m.plain("port", strconv.Itoa(p.Port))
	m.text("os_user", p.OSUser)
	m.text("superuser", p.Superuser)
	s := newMapping()
	s.text("kind", p.Service.Kind)
	s.text("name", p.Service.Name)
	s.list("start", p.Service.Start)
	s.list("stop", p.Service.Stop)
	s.list("restart", p.Service.Restart)
	s.list("reload", p.Service.Reload)
	s.list("status", p.Service.Status)
	m.set("service", s.node)
	settings := newMapping()
	for _, s := range p.Settings {
		val := textNode(s.Value)
		if strings.Trim(s.Value, "0123456789.-") == "" && strings.ContainsAny(s.Value, "0123456789") {
			val.Tag = "" // the spelling is what counts, so numbers need no quotes
		}
		if s.AtLeast {
			least := newMapping()
			least.set("min", val)
			val = least.node
			val.Style = yaml.FlowStyle
		}
		settings.set(s.Name, val)
	}
	if len(p.Settings) > 0 {
		m.set("settings", settings.node)
	}
	m.texts("tablespaces", p.Tablespaces)
	return m.node
}

func (s *SSH) node() *yaml.Node {
	m := newMapping()
	m.text("user", s.User)
	if s.Port != 0 {
		m.plain("port", strconv.Itoa(s.Port))
	}
	m.text("become", s.Become)
	m.secret("become_password", s.BecomePassword)
	m.list("identity_file", s.IdentityFile)
	m.text("jump", s.Jump)
	m.list("proxy_command", s.ProxyCommand)
	m.text("config_file", s.ConfigFile)
	m.list("known_hosts", s.KnownHosts)
	m.text("host_key", s.HostKey)
	m.text("connect_timeout", formatDuration(s.ConnectTimeout))
	return m.node
}

// mapping builds a YAML mapping in the order of the calls. Its methods leave
// out keys without a value.
type mapping struct{ node *yaml.Node }

func newMapping() mapping { return mapping{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

// textNode is quoted by the encoder where YAML would read another type.
func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func (m mapping) set(key string, val *yaml.Node) {
	m.node.Content = append(m.node.Content, textNode(key), val)
}

func (m mapping) text(key, val string) {
	if val != "" {
		m.set(key, textNode(val))
	}
}

// plain is for numbers and booleans.
func (m mapping) plain(key, val string) {
	m.set(key, &yaml.Node{Kind: yaml.ScalarNode, Value: val})
}

func (m mapping) list(key string, vals []string) {
	if len(vals) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
	for _, v := range vals {
		list.Content = append(list.Content, textNode(v))
	}
	m.set(key, list)
}

func (m mapping) texts(key string, vals map[string]string) {
	if len(vals) == 0 {
		return
	}
	pairs := newMapping()
	for _, k := range slices.Sorted(maps.Keys(vals)) {
		pairs.set(k, textNode(vals[k]))
	}
	m.set(key, pairs.node)
}

func (m mapping) secret(key string, ref SecretRef) {
	if ref.IsZero() {
		return
	}
	val := newMapping()
	val.text("env", ref.Env)
	val.text("file", ref.File)
	val.list("command", ref.Command)
	val.node.Style = yaml.FlowStyle
	m.set(key, val.node)
}
