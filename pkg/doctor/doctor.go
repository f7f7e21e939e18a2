// Package doctor examines hosts before anything is changed. It is pure: facts
// in, findings out. Each check is a small function with an id that never
// changes, because users accept findings by it.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/member"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// Severity says what a finding does to a run.
type Severity string

const (
	Block Severity = "block" // refuse, unless the user accepts it by its id
	Warn  Severity = "warn"  // go on, and say so
	Note  Severity = "note"
)

func (s Severity) rank() int { return slices.Index([]Severity{Block, Warn, Note}, s) }

// Finding is one thing that is not as it should be.
type Finding struct {
	ID       string   `json:"id"`
	Host     string   `json:"host"`
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	// Remedy is a command to type, or the one thing to change.
	Remedy string `json:"remedy"`
}

// Scope says what is about to happen.
type Scope struct {
	// Standby is the host that will be made a standby; empty examines the
	// whole cluster, each standby with its upstream.
	Standby string
	// Run is the run that asks, empty if none does.
	Run string
	// Retired are the standbys that were taken out of the cluster, by name.
	Retired map[string]member.Retirement
	// Reseed: what the standby's data directory holds may be overwritten if
	// it is of the same system.
	Reseed bool
	// Emptied: it is removed, or renamed, before the copy, and not overwritten.
	Emptied bool
}

// Check is one entry of the registry. One of onHost, onSource and onPair is set.
type Check struct {
	ID       string
	Severity Severity
	Doc      string // what is looked for, and why

	onHost   func(subject) []found // each host in scope
	onSource func(subject) []found // each host in scope that has standbys
	onPair   func(pair) []found    // each standby in scope with its upstream
}

// found is a finding without what the registry knows of it.
type found struct {
	text, remedy string
	// id and severity, where a check speaks for a table of its own.
	id       string
	severity Severity
}

func one(remedy, format string, a ...any) []found {
	return []found{{text: fmt.Sprintf(format, a...), remedy: remedy}}
}

// subject is a host with what its checks read.
type subject struct {
	cl       *inventory.Cluster // without those who were taken out of it
	all      *inventory.Cluster
	inv      *inventory.Host
	f        *facts.Host
	settings postgres.Settings // empty when the server does not run
	errors   []facts.ConfigError
	role     facts.Role // the replication role
	sorting  facts.Sorting
	run      string // that asks
	// peers are the facts of all that could be read.
	peers []*facts.Host
	// archives are those of the inventory, as its OS user sees them; none where
	// the host reaches none.
	archives []facts.Access
	cleans   bool // it can clean its own archives, or has none
}

// pair is a standby and the host that it streams, and is copied, from.
type pair struct {
	standby, upstream subject
	reseed, emptied   bool
	// trees are the tablespaces on the standby, then its data directory; none
	// when the upstream has no tablespaces.
	trees []tree
	// walSpace and upWALSpace are where a delayed standby and its upstream have
	// their WAL; zero for a standby without a delay.
	walSpace, upWALSpace facts.Space
	// turnedAway are the hosts that pg_hba.conf of a running standby does not admit.
	turnedAway []string
	// tls are the files that a standby which is to be made reads with ssl on.
	tls []tlsFile
	// config is the standby's own postgresql.conf with all that it includes, when it
	// lies outside the data directory and so survives a copy; nil when not known.
	config *conf.Tree
	// auto is the standby's own postgresql.auto.conf, which a copy leaves alone; nil
	// when it has none, or it goes before the copy, and that of the upstream comes.
	auto *conf.File
}

// tree is a directory of the standby that a copy fills, and what will be in it.
type tree struct {
	facts.Space
	bytes int64 // 0 when not known
}

// Examine runs all checks on the hosts that there are facts of. Findings come
// gravest first, then in the order of the inventory and the registry. An error
// is a fact that could not be read.
func Examine(ctx context.Context, cl *inventory.Cluster, hosts map[string]*facts.Host, scope Scope) ([]Finding, error) {
	in, left := scope.present(cl, hosts)
	subjects, pairs, err := collect(ctx, cl, in, hosts, scope)
	if err != nil {
		return nil, err
	}
	out := append([]Finding{}, leftBelow(in, left, scope)...)
	add := func(c Check, host string, fs []found) {
		for _, f := range fs {
			out = append(out, Finding{ID: cmp.Or(f.id, c.ID), Host: host, Severity: cmp.Or(f.severity, c.Severity),
				Found: f.text, Remedy: f.remedy})
		}
	}
	for _, s := range subjects {
		isSource := slices.ContainsFunc(pairs, func(p pair) bool { return p.upstream.inv == s.inv })
		for _, c := range Checks() {
			switch {
			case c.onHost != nil:
				add(c, s.inv.Name, c.onHost(s))
			case c.onSource != nil && isSource:
				add(c, s.inv.Name, c.onSource(s))
			}
		}
		for _, p := range pairs {
			if p.standby.inv != s.inv {
				continue
			}
			for _, c := range Checks() {
				if c.onPair != nil {
					add(c, s.inv.Name, c.onPair(p))
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Severity.rank() - b.Severity.rank() })
	return out, nil
}

// Accept parts the findings into those that block and the rest, which holds
// what the user accepted by id. An id of no check and no finding is an error:
// a slip must not look like consent.
func Accept(findings []Finding, ids []string) (blocking, rest []Finding, err error) {
	known := []string{}
	for _, c := range Checks() {
		known = append(known, c.ID)
	}
	for _, f := range findings {
		known = append(known, f.ID)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, id := range ids {
		if !slices.Contains(known, id) {
			return nil, nil, fmt.Errorf("no check %q; the ids are: %s", id, strings.Join(known, ", "))
		}
	}
	for _, f := range findings {
		if f.Severity == Block && !slices.Contains(ids, f.ID) {
			blocking = append(blocking, f)
		} else {
			rest = append(rest, f)
		}
	}
	return blocking, rest, nil
}
