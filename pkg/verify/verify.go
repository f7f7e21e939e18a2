// Package verify proves what a standby is, level by level, from the cheap to the
// thorough: it streams, its indexes and heaps are sound, its pages have the
// checksums that they were written with, its rows are the primary's. It changes
// nothing that anybody has stored, and starts and stops nothing.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Format names the JSON form of a Report. Fields may be added to a version;
// nothing is taken away or changes its meaning.
const Format = "pgrepctl.verify/v1"

// Level is how much is verified.
type Level string

const (
	Stream    Level = "stream"    // it streams and replays, of the right system
	Amcheck   Level = "amcheck"   // heaps and B-tree indexes are sound in themselves
	Checksums Level = "checksums" // every page on disk has its checksum; the server is stopped
	Hashes    Level = "hashes"    // the rows of every table are the primary's
	all       Level = "all"
)

// ParseLevels reads the levels that a user named, in the order in which they are
// worth looking at. "all" is all that keep nobody waiting: hashes lock writes out, and
// checksums want the server stopped, so each of them is asked for by its name.
func ParseLevels(words []string) ([]Level, error) {
	known := []Level{Stream, Amcheck, Hashes, Checksums}
	asked := map[Level]bool{}
	for _, w := range words {
		switch l := Level(w); {
		case l == all:
			asked[Stream], asked[Amcheck] = true, true
		case slices.Contains(known, l):
			asked[l] = true
		default:
			names := []string{}
			for _, k := range append(known, all) {
				names = append(names, string(k))
			}
			return nil, &fault.Error{Class: fault.Usage, Err: errors.New(fault.Unknown(fmt.Sprintf("no level %q", w), w, names)), Hint: "the levels are " + strings.Join(names, ", ")}
		}
	}
	if asked[Checksums] && len(asked) > 1 {
		return nil, &fault.Error{Class: fault.Usage, Err: errors.New("checksums are of a stopped server, every other level is of a running one"), Hint: "verify them in a call of their own"}
	}
	return slices.DeleteFunc(known, func(l Level) bool { return !asked[l] }), nil
}

// Result of one check.
type Result string

const (
	OK     Result = "ok"
	Failed Result = "FAILED"
	// NotPossible is no failure, and no proof: the detail says why.
	NotPossible Result = "not possible"
)

// Check is one line of a report.
type Check struct {
	Level    Level  `json:"level"`
	Name     string `json:"check"`
	Database string `json:"database,omitempty"`
	Table    string `json:"table,omitempty"` // with its schema, quoted
	Result   Result `json:"result"`
	Detail   string `json:"detail"`
	// Hint is a command to type, or the one thing to do.
	Hint string `json:"hint,omitempty"`
	Rows *int64 `json:"rows,omitempty"` // of a table that was compared
	// BlockedSeconds is for how long writes to the table may have waited.
	BlockedSeconds *float64 `json:"blocked_seconds,omitempty"`
}

// Report is what was verified of one standby.
type Report struct {
	Format  string `json:"format"`
	Cluster string `json:"cluster"`
	Host    string `json:"host"`
	OK      bool   `json:"ok"`       // nothing failed
	Whole   bool   `json:"complete"` // and nothing was not possible
	// Longest is the table whose writers may have waited longest.
	Longest *Blocked `json:"longest_blocked,omitempty"`
	Checks  []Check  `json:"checks"`
}

// Blocked is a table that was locked against writes.
type Blocked struct {
	Database string  `json:"database"`
	Table    string  `json:"table"`
	Seconds  float64 `json:"seconds"`
}

// String is for how long.
func (b Blocked) String() string { return short(time.Duration(b.Seconds * float64(time.Second))) }

// Hosts is the way to the hosts of a cluster.
type Hosts interface {
	Host(ctx context.Context, name string) (host.Host, error)
	// Database says how to reach the host's server.
	Database(ctx context.Context, name string) (host.Database, error)
}

// Server is one of the servers that take part.
type Server struct {
	Name  string
	Facts *facts.Host
}

// Subject is what is verified.
type Subject struct {
	Cluster string
	// Upstream and Primary may be one. For the checksums neither is asked.
	Standby, Upstream, Primary Server
	Application                string // of the standby's walreceiver
	Slot                       string // on the upstream; empty when it has none
	Delayed                    bool   // it shall replay late
	// Stop is the command, typed on the standby, that stops its server.
	Stop string
}

// Bounds are for how long anything may take, or keep anybody waiting.
type Bounds struct {
	Wait    time.Duration // for the standby to stream, or to replay a position, without progress
	Lock    time.Duration // for a table's lock; writes that come meanwhile wait behind it
	MaxLock time.Duration // for holding it
}

// Run verifies. What is wrong with the standby is in the report; an error is that
// it could not be looked at, or may not be.
func Run(ctx context.Context, hosts Hosts, s Subject, levels []Level, databases []string, b Bounds) (Report, error) {
	r := &run{hosts: hosts, Subject: s, databases: databases, Bounds: b, now: time.Now,
		report: Report{Format: Format, Cluster: s.Cluster, Host: s.Standby.Name, Checks: []Check{}}}
	for _, l := range levels {
		r.level = l
		var err error
		switch l {
		case Stream:
			err = r.stream(ctx)
		case Amcheck:
			err = r.amcheck(ctx)
		case Checksums:
			err = r.checksums(ctx)
		case Hashes:
			err = r.hashes(ctx)
		}
		if ctx.Err() != nil {
			return r.report, context.Cause(ctx) // what broke because of it is no finding
		}
		if err != nil {
			return r.report, err
		}
	}
	r.report.conclude()
	return r.report, nil
}

// conclude sums the checks up.
func (r *Report) conclude() {
	r.OK, r.Whole = true, true
	for _, c := range r.Checks {
		r.OK = r.OK && c.Result != Failed
		r.Whole = r.Whole && c.Result == OK
		if b := c.BlockedSeconds; b != nil && (r.Longest == nil || *b > r.Longest.Seconds) {
			r.Longest = &Blocked{Database: c.Database, Table: c.Table, Seconds: *b}
		}
	}
}

// run is one call.
type run struct {
	Subject
	Bounds
	hosts     Hosts
	databases []string // to verify; none is all
	now       func() time.Time
	level     Level
	report    Report
}

func (r *run) add(c Check) {
	c.Level = r.level
	r.report.Checks = append(r.report.Checks, c)
}

// running says of a server that does not run that the level failed: a standby
// that is down is none.
func (r *run) running(s Server) bool {
	f := s.Facts
	switch {
	case f.Server.Running:
		return true
	case f.Server.NotReady != "":
		r.add(Check{Name: "server", Result: Failed, Detail: "the server of " + s.Name + " accepts no session: " + f.Server.NotReady, Hint: "pgrepctl status"})
	default:
		r.add(Check{Name: "server", Result: Failed, Detail: "the server of " + s.Name + " does not run", Hint: "pgrepctl status"})
	}
	return false
}

// open makes a session on a server's database; the caller closes it.
func (r *run) open(ctx context.Context, s Server, database string) (host.SQL, error) {
	h, err := r.hosts.Host(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	db, err := r.hosts.Database(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	db.Name, db.Application = database, "pgrepctl verify"
	return h.SQL(ctx, db)
}

// closing ends a session also when ctx has ended: what it holds ends with it.
func closing(ctx context.Context, s host.SQL) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = s.Close(ctx)
}

// chosen are the databases to verify: those named, which must exist, or all that
// people may connect to.
func (r *run) chosen(ctx context.Context, s Server) ([]string, error) {
	db, err := r.open(ctx, s, "")
	if err != nil {
		return nil, err
	}
	defer closing(ctx, db)
	var rows []struct {
		Name     string `json:"name"`
		Template bool   `json:"template"`
	}
	// A database whose removal was interrupted has the limit -2.
	if err := db.Query(ctx, &rows, "select datname as name, datistemplate as template from pg_database where datallowconn and datconnlimit <> -2 order by datname"); err != nil {
		return nil, fmt.Errorf("list databases of %s: %w", s.Name, err)
	}
	var every, ordinary []string
	for _, x := range rows {
		every = append(every, x.Name)
		if !x.Template {
			ordinary = append(ordinary, x.Name)
		}
	}
	if len(r.databases) == 0 {
		return ordinary, nil
	}
	for _, name := range r.databases {
		if !slices.Contains(every, name) {
			return nil, &fault.Error{Class: fault.Usage, Host: s.Name, Err: fmt.Errorf("no database %q to connect to", name), Hint: "it has " + strings.Join(every, ", ")}
		}
	}
	return r.databases, nil
}
