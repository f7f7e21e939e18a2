package steps

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// CopyKey lets the standby pull from its upstream, around its body, with keys
// made for this run alone: each opens one rsync sender, for one directory, from
// one address. Both halves are removed by the hosts themselves when the tool dies,
// and the line expires if everything else fails.
type CopyKey struct {
	From    string        `yaml:"from"` // upstream
	Expires time.Duration `yaml:"expires"`
}

var _ Bracket = (*CopyKey)(nil)

// Validate is called when a plan file is read.
func (s *CopyKey) Validate() error { return onlyUpstream("from", s.From) }

// Open authorises a key on the upstream for each tree of the copy, and puts the
// private halves on the standby's memory file system.
func (s *CopyKey) Open(ctx context.Context, in In) (Planned, error) {
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	up, uf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	trees, err := copyTrees(ctx, in.Self, uf)
	if err != nil {
		return Planned{}, err
	}
	expires := s.Expires
	if expires == 0 {
		expires = 24 * time.Hour
	}
	var p Planned
	add := func(e effect.Effect) { p.Effects = append(p.Effects, e) }
	sshDir := path.Join(uf.Machine.LoginHome, ".ssh")
	// Only a directory that is missing is made: undoing that removes it. One
	// that this run made, and was left open, goes before this is done again.
	claim := "directory " + sshDir
	if _, err := uf.List(ctx, "", sshDir); errors.Is(err, fs.ErrNotExist) || in.Run.Claimed(claim) {
		add(&effect.MakeDir{Host: up.Name, Path: sshDir, Mode: 0o700, Claims: claim})
	} else if err != nil {
		return Planned{}, fmt.Errorf("list %s on %s: %w", sshDir, up.Name, err)
	}
	as := in.Self.Postgres.OSUser
	dir, err := copyDir(in, self)
	if err != nil {
		return Planned{}, err
	}
	var keys, lines []effect.Effect
	guard := &effect.DeadMan{Host: up.Name, What: "the key of this run", File: path.Join(sshDir, "authorized_keys")}
	for n, t := range trees {
		key, err := in.Run.CopyKey(n)
		if err != nil {
			return Planned{}, err
		}
		line, mark, err := s.authorize(ctx, in, self, uf, up, t, key, n, expires)
		if err != nil {
			return Planned{}, err
		}
		what := "key of this run, for rsync of " + t.source + " only, for " + expires.String()
		lines = append(lines, &effect.AddLine{Host: up.Name, Path: guard.File, Line: line, Mark: mark, Mode: 0o600, What: what})
		// By the key itself: a resume makes others under the same mark.
		guard.Lines = append(guard.Lines, strings.Fields(key.Public)[1])
		keys = append(keys, &effect.WriteFile{Host: in.Self.Name, As: as, Path: keyFile(dir, t), Data: []byte(key.Private.Reveal()), Mode: 0o600,
			Own: true, Sensitive: true, What: fmt.Sprintf("private key %d", n+1), Why: "(0600, in memory)"})
	}
	add(guard)
	p.Effects = append(p.Effects, lines...)
	add(&effect.DeadMan{Host: in.Self.Name, As: as, What: "its private key", Dir: dir})
	add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: dir, Mode: 0o700, Own: true, UID: self.Machine.UID, What: "directory for the key", Why: "(0700, in memory)"})
	add(&effect.WriteFile{Host: in.Self.Name, As: as, Path: path.Join(dir, "known_hosts"), Own: true, Data: []byte(hostKeyAlias + " " + uf.Machine.HostKey + "\n"),
		Mode: 0o600, Sensitive: true, What: "known_hosts", Why: "(the host key of " + up.Name + " as it was verified)"})
	p.Effects = append(p.Effects, keys...)
	return p, nil
}

// Close has nothing to add: the inverses of Open take everything away.
func (*CopyKey) Close(context.Context, In) (Planned, error) { return Planned{}, nil }

const hostKeyAlias = "pgrepctl-source"

// copyDir is a directory on the memory file system, which everybody may write:
// its name is made from the key so that nobody can be there first.
func copyDir(in In, h *facts.Host) (string, error) {
	key, err := in.Run.CopyKey(0)
	if err != nil {
		return "", err
	}
	return path.Join(h.Machine.TmpFS, "pgrepctl-"+digest(key.Public)), nil
}

// keyFile is named by what its key opens: the key of one tree must never fetch
// another into that one's place.
func keyFile(dir string, t tree) string { return path.Join(dir, "key-"+digest(t.source)) }

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

func (s *CopyKey) authorize(ctx context.Context, in In, self, uf *facts.Host, up *inventory.Host, t tree, key Key, n int, expires time.Duration) (line, mark string, err error) {
	argv, err := self.RsyncServer(ctx, rsyncFlags(t.fresh(self)), t.source+"/")
	if err != nil {
		return "", "", err
	}
	if uf.Machine.LoginUser != up.Postgres.OSUser {
		argv = append([]string{"sudo", "-n", "-u", up.Postgres.OSUser}, argv...)
	}
	command, err := shell.Quote(argv...)
	if err != nil {
		return "", "", fmt.Errorf("rsync command: %w", err)
	}
	if strings.ContainsAny(command, "\n\r") {
		return "", "", errors.New("rsync command: line break in a path")
	}
	options := []string{"restrict", `command="` + strings.ReplaceAll(command, `"`, `\"`) + `"`}
	// from= compares addresses; a name would need sshd's UseDNS, which is off
	// almost everywhere.
	if a, err := netip.ParseAddr(in.Self.Address); err == nil {
		options = append(options, `from="`+a.String()+`"`)
	}
	// Without a Z the time is the server's local time; sshd before 9.1 knows
	// no other.
	options = append(options, `expiry-time="`+uf.Machine.Clock.Add(expires).Format("200601021504")+`"`)
	mark = fmt.Sprintf("pgrepctl:%s:%s:%d", in.Run.ID(), in.Self.Name, n)
	return strings.Join(options, ",") + " " + key.Public + " " + mark, mark, nil
}
