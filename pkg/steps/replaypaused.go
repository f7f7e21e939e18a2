package steps

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// ReplayPaused keeps replay paused around its body. The pause has a leash: a process
// on the standby that resumes replay when this machine falls silent, or when the leash
// is over.
type ReplayPaused struct {
	Leash time.Duration `yaml:"leash"` // the longest pause; default 10m
	// Timeout is how long the pause may take to hold; default 5s, for a body that
	// waits for it holds up others.
	Timeout time.Duration `yaml:"timeout"`
	// Hosts are those that are paused, with commas between; default the step's own.
	Hosts hostList `yaml:"hosts"`
	// DDL: it is around a schema change of the run, in Database. Those that are
	// named are paused, and none once it is committed.
	DDL      bool   `yaml:"ddl"`
	Database string `yaml:"database"`
	// Quiet are relations, as oids with commas between, that nobody may hold a lock on
	// when it is paused; for that it waits QuietFor.
	Quiet    oidList       `yaml:"quiet"`
	QuietFor time.Duration `yaml:"quiet-for"`
}

// oidList is oids with commas between.
type oidList string

func (l oidList) list() ([]int64, error) {
	var out []int64
	for text := range strings.FieldsFuncSeq(string(l), func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no oid", text)
		}
		out = append(out, n)
	}
	return out, nil
}

var _ Bracket = (*ReplayPaused)(nil)

// Validate is called when a plan file is read.
func (s *ReplayPaused) Validate() error {
	if s.Leash != 0 && s.Leash < time.Second {
		return fmt.Errorf("leash %s: want a second at least", s.Leash)
	}
	return nil
}

// Open arms the leashes first, and pauses then. A pause that is there already belongs
// to somebody else, who would be robbed of it at the end.
func (s *ReplayPaused) Open(ctx context.Context, in In) (Planned, error) {
	if s.DDL {
		if lsn, ok := deployed(in.Run); ok {
			return noop("the DDL is committed, at %s", lsn), nil
		}
	}
	hosts := []*inventory.Host{in.Self}
	if s.DDL || s.Hosts != "" {
		var err error
		if hosts, err = s.Hosts.of(in.Cluster); err != nil {
			return Planned{}, err
		}
	}
	if len(hosts) == 0 {
		return noop("no standby is paused"), nil
	}
	var leashes []effect.Effect
	var pauses []*effect.SetReplay
	for _, x := range hosts {
		in.Self = x
		leash, pause, err := s.pause(ctx, in)
		if err != nil {
			return Planned{}, err
		}
		if s.DDL && len(leashes) == 0 {
			leash.Ahead = []effect.Session{{Host: in.Cluster.Primary().Name, Database: s.Database}}
		}
		leashes, pauses = append(leashes, leash), append(pauses, pause)
	}
	together(pauses)
	out := leashes
	for _, p := range pauses {
		out = append(out, p)
	}
	return Planned{Effects: out}, nil
}

func (s *ReplayPaused) pause(ctx context.Context, in In) (*effect.LeashReplay, *effect.SetReplay, error) {
	h, err := in.replaying(ctx)
	if err != nil {
		return nil, nil, err
	}
	target, err := in.recoveryTarget(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case target != "":
		return nil, nil, effect.AtTarget(in.Self.Name, target)
	case h.Server.Replay.Paused:
		return nil, nil, fault.Refuse(in.Self.Name, "pgrepctl replay resume "+in.Self.Name, errors.New("replay is paused already, by somebody else"))
	case h.Machine.Tools["psql"] == "":
		return nil, nil, fault.Refuse(in.Self.Name, "install PostgreSQL's client programs there", errors.New("it has no psql, with which the host resumes replay by itself when nobody else can"))
	}
	pause := in.setReplay(h, true, orElse(s.Timeout, holdsTimeout))
	pause.Why = "(" + in.fills(h) + "; waits until the pause holds)"
	if s.DDL {
		if pause.Quiet, err = s.Quiet.list(); err != nil {
			return nil, nil, err
		}
		pause.Clean, pause.Gate, pause.Database, pause.QuietFor = true, gateAtClose, s.Database, orElse(s.QuietFor, 10*time.Minute)
		pause.Why = "(once it has caught up, and holds no lock; it goes on receiving, and its disk fills)"
	}
	return &effect.LeashReplay{Host: in.Self.Name, As: in.Self.Postgres.OSUser, Longest: orElse(s.Leash, 10*time.Minute), Version: h.Server.Version,
		PSQL: h.Machine.Tools["psql"], SocketDir: h.Machine.SocketDir, Port: in.Self.Postgres.Port, User: in.Self.Postgres.Superuser}, pause, nil
}

// gateAtClose is how long the end of a bracket looks for an instant in which replay
// waits for nobody, when the plan did not come to where it does that.
const gateAtClose = 10 * time.Second

// Close has nothing to add: the inverse of the pause resumes replay.
func (*ReplayPaused) Close(context.Context, In) (Planned, error) { return Planned{}, nil }
