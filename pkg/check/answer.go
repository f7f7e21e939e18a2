package check

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Question is what a load balancer may ask of a host, by the paths of Patroni's
// REST API.
type Question string

const (
	AskPrimary        Question = "primary"
	AskReplica        Question = "replica"
	AskReadOnly       Question = "read-only"
	AskSynchronous    Question = "synchronous"
	AskReadOnlySync   Question = "read-only-sync"
	AskQuorum         Question = "quorum"
	AskReadOnlyQuorum Question = "read-only-quorum"
	AskAsynchronous   Question = "asynchronous"
	AskHealth         Question = "health"
	AskReadiness      Question = "readiness"
	AskLiveness       Question = "liveness"
)

// questions are the paths by which they are asked, those of Patroni 4.
var questions = map[string]Question{
	"primary": AskPrimary, "master": AskPrimary, "leader": AskPrimary, "read-write": AskPrimary,
	"replica": AskReplica, "read-only": AskReadOnly,
	"synchronous": AskSynchronous, "sync": AskSynchronous, "read-only-sync": AskReadOnlySync, "read-only-synchronous": AskReadOnlySync,
	"quorum": AskQuorum, "read-only-quorum": AskReadOnlyQuorum,
	"asynchronous": AskAsynchronous, "async": AskAsynchronous,
	"health": AskHealth, "readiness": AskReadiness, "liveness": AskLiveness,
}

// ParseQuestion knows the name of a path, without its slash.
func ParseQuestion(name string) (Question, bool) {
	q, ok := questions[name]
	return q, ok
}

// Limited reports whether the question takes a limit of lag.
func (q Question) Limited() bool {
	switch q {
	case AskPrimary, AskHealth, AskLiveness:
		return false
	}
	return true
}

// Answer says whether a state is a yes to the question.
func (q Question) Answer(s State) bool {
	reads := s.In && s.Role == inventory.Standby
	writes := s.In && s.Role == inventory.Primary
	// A commit waits for every standby of sync, and for any of a quorum: as Patroni, two things.
	sync, quorum := s.Sync == "sync", s.Sync == "quorum"
	switch q {
	case AskPrimary:
		return writes
	case AskReplica:
		return reads
	case AskReadOnly, AskReadiness:
		return reads || writes
	case AskSynchronous:
		return reads && sync
	case AskReadOnlySync:
		return reads && sync || writes
	case AskQuorum:
		return reads && quorum
	case AskReadOnlyQuorum:
		return reads && quorum || writes
	case AskAsynchronous:
		return reads && s.Sync != "" && !sync && !quorum
	case AskHealth:
		// The server runs and accepts sessions, whatever its lag is.
		return s.Role != "" && !s.Reason.silent()
	}
	return false
}

// ParseLag reads a limit of lag: bytes, with a unit of PostgreSQL or without one
// (16MB, 1048576), or a time (10s, 2min).
func ParseLag(s string) (Limit, error) {
	if d, err := parseTime(s); err == nil {
		return Limit{Time: d}, nil
	}
	n, err := postgres.ParseBytes(s)
	if err != nil || n <= 0 {
		return Limit{}, fmt.Errorf("lag %q: want bytes above 0 (16MB, 1048576) or a time (10s, 2min)", s)
	}
	return Limit{Bytes: n}, nil
}

func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.Replace(s, "min", "m", 1))
	if err != nil || d <= 0 {
		return 0, errors.New("no time")
	}
	return d, nil
}
