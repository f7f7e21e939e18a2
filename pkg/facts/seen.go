package facts

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Thing is what can be looked at of a host, and again later.
type Thing struct {
	Kind string `json:"kind"` // file, setting, role, slot, server
	Name string `json:"name"`
	As   string `json:"as,omitempty"` // of a file: the OS user that reads it
}

func (t Thing) String() string {
	if t.Kind == "server" {
		return t.Name
	}
	return t.Kind + " " + t.Name
}

// Seen is a thing as it was read. It holds no secret: of a file it has the hash,
// and nothing of a file that holds a password.
type Seen struct {
	Host string `json:"host"`
	Thing
	Value string `json:"value"`
}

// Seen is all that was read of the host so far, as it was before any prediction.
func (h *Host) Seen() []Seen {
	var out []Seen
	for t, v := range h.seen {
		out = append(out, Seen{Host: h.Name, Thing: t, Value: v})
	}
	slices.SortFunc(out, func(a, b Seen) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.As, b.As))
	})
	return out
}

// Look reads a thing that was seen before; "" is what is not there any more.
func (h *Host) Look(ctx context.Context, t Thing) (string, error) {
	var err error
	switch t.Kind {
	case "file":
		_, err = h.File(ctx, t.As, t.Name)
	case "setting":
		_, err = h.Settings(ctx)
	case "role":
		_, err = h.Role(ctx, t.Name)
	}
	return h.seen[t], err
}

func (h *Host) saw(kind, name, value string) { h.sawThing(Thing{Kind: kind, Name: name}, value) }

func (h *Host) sawThing(t Thing, value string) {
	if h.seen == nil {
		h.seen = map[Thing]string{}
	}
	if _, ok := h.seen[t]; !ok {
		h.seen[t] = value
	}
}

// Observe notes what a reading of the host has brought at once. What moves by itself,
// such as a position in the WAL, is no fact that a plan is bound to.
func (h *Host) Observe() {
	s := h.Server
	h.saw("server", "machine", h.Machine.MachineID)
	h.saw("server", "server binaries", h.Machine.BinVersion.String())
	h.saw("server", "data directory", dataWords(h.Data))
	h.saw("server", "server", running(s))
	if !s.Running {
		return
	}
	h.saw("server", "version", s.Version.String())
	h.saw("server", "system identifier", s.SystemID)
	h.saw("server", "timeline", fmt.Sprint(s.Timeline))
	h.saw("server", "settings that wait for a restart", strings.Join(s.PendingRestart, ", "))
	var slots, senders []string
	for _, x := range s.Slots {
		if !x.Temporary {
			slots = append(slots, x.Name)
			h.saw("slot", x.Name, strings.TrimSpace(x.Type+" "+x.WALStatus))
		}
	}
	for _, x := range s.Senders {
		if x.State != "backup" {
			senders = append(senders, x.Application+" "+x.State)
		}
	}
	slices.Sort(senders)
	h.saw("server", "slots", strings.Join(slots, ", "))
	h.saw("server", "what streams from it", strings.Join(senders, ", "))
	h.saw("server", "replay", map[bool]string{true: "paused"}[s.Replay.Paused])
}

func running(s Server) string {
	switch {
	case !s.Running:
		return "does not run"
	case s.InRecovery:
		return "runs, in recovery"
	}
	return "runs, and takes writes"
}

func dataWords(d DataDir) string {
	words := string(d.State)
	if d.State == Cluster {
		words += fmt.Sprintf(" of system %d", d.Control.SystemID)
	}
	if d.Standby {
		words += ", a standby's"
	}
	return words
}

func (h *Host) sawFile(as string, f host.File) {
	value := ""
	if f.Exists {
		if holdsPassword(f) {
			return
		}
		sum := sha256.Sum256(f.Data)
		value = fmt.Sprintf("sha256:%s mode %o", hex.EncodeToString(sum[:]), f.Mode.Perm())
	}
	h.sawThing(Thing{Kind: "file", Name: f.Path, As: as}, value)
}

// holdsPassword: the hash of a file that is known but for a short secret would give
// the secret away.
func holdsPassword(f host.File) bool {
	return strings.HasSuffix(path.Base(f.Path), ".pgpass") || HoldsSecret(f.Data)
}

// sawSettings notes those that somebody gave. A conninfo or a command may hold a
// secret, and so may what looks as if: what their files say is seen there.
func (h *Host) sawSettings(all postgres.Settings) {
	for _, name := range all.Names() {
		s := all[name]
		switch {
		case strings.Contains(name, "conninfo"), strings.Contains(name, "command"), strings.Contains(name, "passphrase"), HoldsSecret([]byte(name + " = " + s.Value)):
		case s.Source == "configuration file", s.Source == "command line", s.Source == "environment variable", s.Context == "postmaster":
			h.saw("setting", name, s.Value)
		}
	}
}

func (h *Host) sawRole(r Role) {
	words := ""
	if r.Exists {
		words = "exists"
		for _, a := range []struct {
			is   bool
			word string
		}{{r.Login, "login"}, {r.Replication, "replication"}, {r.Superuser, "superuser"}, {r.Expired, "expired"}} {
			if a.is {
				words += ", " + a.word
			}
		}
	}
	h.saw("role", r.Name, words)
}
