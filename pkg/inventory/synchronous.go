package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// SyncRule is how many synchronous standbys a commit waits for.
type SyncRule struct {
	Any    bool // any Number of them, else the first Number of the list
	Number int  // 0: none
}

// String is the rule as an inventory has it, "" for none.
func (r SyncRule) String() string {
	switch {
	case r.Number == 0:
		return ""
	case r.Any:
		return fmt.Sprintf("any %d", r.Number)
	}
	return fmt.Sprintf("first %d", r.Number)
}

// Synchronous are the hosts that commits may wait for, in file order.
func (c *Cluster) Synchronous() []*Host {
	var out []*Host
	for _, h := range c.Hosts {
		if h.Synchronous {
			out = append(out, h)
		}
	}
	return out
}

func (c *Cluster) syncRule(text string) SyncRule {
	if len(c.Synchronous()) == 0 {
		return SyncRule{}
	}
	return parseSyncRule(text)
}

type syncRule struct{}

func (syncRule) form() form {
	return form{
		Label:   "rule for synchronous standbys",
		Want:    "first N or any N, for example any 1",
		Pattern: `^(first|any) [1-9][0-9]?$`,
		MaxLen:  32,
	}
}

// parseSyncRule reads a text that its form has checked; "" is first 1.
func parseSyncRule(text string) SyncRule {
	method, number, ok := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil {
		return SyncRule{Number: 1}
	}
	return SyncRule{Any: method == "any", Number: n}
}

// synchronous refuses what would make commits wait for ever, or for a delay.
func (c *checker) synchronous() {
	rule := &c.doc.Replication.Synchronous
	number := 0
	primary := ""
	for _, d := range c.drafts {
		if d.Role.Value == string(Primary) {
			primary = d.name
		}
	}
	for _, d := range c.drafts {
		if d.Synchronous.Value != "true" {
			continue
		}
		number++
		switch at := d.Synchronous.at; {
		case d.Role.Value == string(Primary):
			c.add(at, d.path("synchronous"), "", "the primary waits for others, nobody for it")
		case d.ApplyDelay.Value != "":
			c.add(at, d.path("synchronous"), "remove one of them", "it has an apply_delay: with synchronous_commit = remote_apply each commit would take that long")
		case primary != "" && d.Upstream.Value != primary:
			c.add(at, d.path("synchronous"), "let it stream from "+primary, "its upstream is %s: commits wait only for standbys of the primary itself", d.Upstream.Value)
		}
	}
	if number > 0 {
		c.owned("is made from synchronous: of the hosts", "synchronous_standby_names")
	}
	if !rule.given() || rule.Value == "" {
		return
	}
	want := parseSyncRule(rule.Value)
	switch {
	case number == 0:
		c.add(rule.at, "replication.synchronous", "give one: synchronous: true", "no host is synchronous")
	case want.Number > number:
		c.add(rule.at, "replication.synchronous", "", "commits would wait for %d synchronous hosts, and there are %d", want.Number, number)
	default:
		c.syncWords(want)
	}
}

// syncWords refuses a rule that one of the hosts, which may be the primary some day, could
// not be told: ANY came with 10, and with 9.6 that more than one is waited for.
func (c *checker) syncWords(want SyncRule) {
	rule := &c.doc.Replication.Synchronous
	for _, d := range c.drafts {
		v, err := postgres.ParseVersion(d.pg.Version.Value)
		if err != nil {
			continue // which is a problem of its own
		}
		switch one := !v.AtLeast(9, 6); {
		case want.Any && !v.AtLeast(10):
			instead := strings.Replace(rule.Value, "any", "first", 1)
			if one {
				instead = SyncRule{Number: 1}.String()
			}
			c.add(rule.at, "replication.synchronous", "write "+instead, "any is new in PostgreSQL 10")
			return
		case want.Number > 1 && one:
			c.add(rule.at, "replication.synchronous", "write "+SyncRule{Number: 1}.String(), "more than one synchronous standby is new in PostgreSQL 9.6")
			return
		}
	}
}

// owned refuses settings that follow from another key of this inventory.
func (c *checker) owned(why string, names ...string) {
	for _, d := range c.drafts {
		for _, s := range d.pg.Settings.items {
			if slices.Contains(names, strings.ToLower(s.name)) {
				c.add(s.at, d.path("postgres.settings."+s.name), "remove one of them", "%s", why)
			}
		}
	}
}

// Strange are those of the names in synchronous_standby_names that no host has:
// names without case, "*" too.
func (c *Cluster) Strange(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return slices.ContainsFunc(c.Hosts, func(h *Host) bool { return strings.EqualFold(h.Name, n) })
	})
}
