package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// memoryFormat names the form of a Memory. A file of another form is not read.
const memoryFormat = "pgrepctl.check-memory/v1"

// maxAge is how old a memory may be. What was said of a host a day ago, and not
// looked at since, says nothing of it.
const maxAge = 24 * time.Hour

// MaxMemory bounds the bytes of a memory that is read: forty hosts need 40 kB.
const MaxMemory = 4 << 20

// Memory is what lasts from one call to the next.
type Memory struct {
	Format   string           `json:"format"`
	Cluster  string           `json:"cluster"`
	At       time.Time        `json:"at"` // of the newest observation
	SystemID string           `json:"system_id,omitempty"`
	Primary  Positions        `json:"primary"`
	Writes   Writes           `json:"writes,omitzero"`
	Hosts    map[string]State `json:"hosts"`
}

// NewMemory remembers nothing.
func NewMemory(cluster string) Memory {
	return Memory{Format: memoryFormat, Cluster: cluster, Hosts: map[string]State{}}
}

func (m Memory) clone() Memory {
	m.Primary, m.Hosts = slices.Clone(m.Primary), maps.Clone(m.Hosts)
	if m.Hosts == nil {
		m.Hosts = map[string]State{}
	}
	return m
}

// Encode is the bytes of a memory.
func (m Memory) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode memory: %w", err)
	}
	return append(b, '\n'), nil
}

// ErrMemory is a memory that cannot be used: it is no memory, or of another
// cluster, or too old. One begins without it.
var ErrMemory = errors.New("memory cannot be used")

// Decode reads a memory of a cluster back, at a time. Whoever can write the file
// can say what he likes of a host, and nothing more: what does not make sense is
// refused or put right.
func Decode(b []byte, cluster string, now time.Time) (Memory, error) {
	fail := func(format string, args ...any) (Memory, error) {
		return Memory{}, fmt.Errorf("%w: %s", ErrMemory, fmt.Sprintf(format, args...))
	}
	if len(b) > MaxMemory {
		return fail("it is longer than %d bytes", MaxMemory)
	}
	var m Memory
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&m); err != nil {
		return fail("%v", err)
	}
	switch {
	case m.Format != memoryFormat:
		return fail("its format is %q, not %q", m.Format, memoryFormat)
	case m.Cluster != cluster:
		return fail("it is of cluster %q", m.Cluster)
	case now.Sub(m.At) > maxAge:
		return fail("it is of %s", m.At.UTC().Format(time.RFC3339))
	}
	m = m.clone()
	if m.At.After(now) {
		m.At = now // the clock was set back
	}
	m.Primary = m.Primary.sound(now)
	for name, s := range m.Hosts {
		if s.Host != name || !s.sound(now) {
			delete(m.Hosts, name)
		}
	}
	return m, nil
}

// sound drops everything when one position contradicts another, or our clock.
func (p Positions) sound(now time.Time) Positions {
	if len(p) > maxPositions {
		return nil
	}
	for i, x := range p {
		if x.First.After(x.Last) || x.Last.After(now) || i > 0 && (x.LSN <= p[i-1].LSN || x.First.Before(p[i-1].Last)) {
			return nil
		}
	}
	return p
}

func (s State) sound(now time.Time) bool {
	for _, at := range []time.Time{s.Since, s.Seen, s.ReplayMoved, s.GoodSince, s.Maint, s.FilesAt} {
		if at.After(now) {
			return false
		}
	}
	return s.Strikes >= 0 && s.Strikes <= maxStrikes && !math.IsNaN(s.Nearer)
}
