package steps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"sync"
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
	From    string        `yaml:"from"`    // upstream, or another host
	Expires time.Duration `yaml:"expires"` // of the key, by sshd itself (168h): longer than any copy takes
	// How the copy goes over the link: as the rsync step inside has it.
	Streams  string `yaml:"streams"`
	Compress string `yaml:"compress"` // as the rsync step inside has it
	BWLimit  string `yaml:"bwlimit"`  // as the rsync step inside has it
	// CommitLimit is that of the rsync step: but for none, the sender has a low priority
	// of the source's processors.
	CommitLimit string `yaml:"commit-limit"`
}

var _ Bracket = (*CopyKey)(nil)

// Validate is called when a plan file is read.
func (s *CopyKey) Validate() error {
	if _, err := copyOptions(s.Streams, s.Compress, s.BWLimit, &facts.Host{}, &facts.Host{}); err != nil {
		return err
	}
	_, err := commitLimit(s.CommitLimit)
	return err
}

// Open authorises a key on the upstream for each tree of the copy, and puts the
// private halves on the standby's memory file system.
func (s *CopyKey) Open(ctx context.Context, in In) (Planned, error) {
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	up, uf, err := in.source(ctx, s.From)
	if err != nil {
		return Planned{}, err
	}
	if in.Self.Relay {
		return in.openRelay(self)
	}
	trees, err := copyTrees(ctx, in.Self, uf)
	if err != nil {
		return Planned{}, err
	}
	expires := s.Expires
	if expires == 0 {
		expires = 7 * 24 * time.Hour
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
		command, senders, err := s.command(ctx, in, self, uf, up, t)
		if err != nil {
			return Planned{}, err
		}
		line, mark, err := authorize(in, uf, command, key, n, expires)
		if err != nil {
			return Planned{}, err
		}
		what := "key of this run, for rsync of " + t.source + " only, for " + expires.String()
		lines = append(lines, &effect.AddLine{Host: up.Name, Path: guard.File, Line: line, Mark: mark, Mode: 0o600, What: what})
		// By the key itself, which is what opens.
		guard.Lines = append(guard.Lines, strings.Fields(key.Public)[1])
		guard.Senders = append(guard.Senders, senders...)
		keys = append(keys, &effect.WriteFile{Host: in.Self.Name, As: as, Path: keyFile(dir, t), Data: []byte(key.Private.Reveal()), Mode: 0o600,
			Own: true, Sensitive: true, What: fmt.Sprintf("private key %d", n+1), Why: "(0600, in memory)"})
	}
	add(guard)
	p.Effects = append(p.Effects, lines...)
	add(&effect.DeadMan{Host: in.Self.Name, As: as, What: "its private key", Dir: dir})
	add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: dir, Mode: 0o700, Own: true, UID: self.Machine.UID, What: "directory for the key", Why: "(0700, in memory)"})
	add(&effect.WriteFile{Host: in.Self.Name, As: as, Path: path.Join(dir, "known_hosts"), Own: true, Data: []byte(knownSource(uf) + "\n"),
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

// authorize is the line that lets a key start the command, and the word that names it.
func authorize(in In, uf *facts.Host, command string, key Key, n int, expires time.Duration) (line, mark string, err error) {
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
	// Of this key alone: whoever goes on with the run from another machine makes others, and
	// this machine, should it wake up then, must not take those away.
	mark = fmt.Sprintf("pgrepctl:%s:%s:%d:%s", in.Run.ID(), in.Self.Name, n, digest(key.Public)[:8])
	return strings.Join(options, ",") + " " + key.Public + " " + mark, mark, nil
}

// command is all that a key can start: an rsync sender of one directory. Which of them,
// where the copy may compress or goes on, the name decides that rsync asks for. The senders
// are as the list of processes shows them.
func (s *CopyKey) command(ctx context.Context, in In, self, uf *facts.Host, up *inventory.Host, t tree) (command string, senders []string, err error) {
	how, err := in.copying(s.Streams, s.Compress, s.BWLimit, self, uf)
	if err != nil {
		return "", nil, err
	}
	sender := func(zstd bool, more ...string) (line, shown string, err error) {
		argv, err := self.RsyncServer(ctx, append(how.flags(zstd), more...), t.source+"/")
		if err != nil {
			return "", "", err
		}
		if uf.Machine.LoginUser != up.Postgres.OSUser {
			argv = append([]string{"sudo", "-n", "-u", up.Postgres.OSUser}, argv...)
		}
		line, err = shell.Quote(argv...)
		return line, strings.Join(argv, " "), err
	}
	lowly, err := s.lowly(in, t)
	if err != nil {
		return "", nil, err
	}
	asks := []ask{{}}
	if how.compress != "none" {
		asks = append(asks, ask{name: effect.ZstdSender, zstd: true})
	}
	if appends(self) {
		asks = append(asks, ask{name: effect.AppendSender, more: []string{"--append"}})
	}
	lines, errs := make([]string, len(asks)), make([]error, len(asks))
	senders = make([]string, len(asks))
	var asking sync.WaitGroup
	for i, a := range asks {
		asking.Go(func() { lines[i], senders[i], errs[i] = sender(a.zstd, a.more...) })
	}
	asking.Wait()
	if err := cmp.Or(errs...); err != nil || len(asks) == 1 && lowly == "" {
		return lines[0], senders, err
	}
	others := ""
	for i, a := range asks[1:] {
		others += a.name + "*) exec " + lines[i+1] + ";; "
	}
	if others != "" {
		others = "case $SSH_ORIGINAL_COMMAND in " + others + "esac; "
	}
	command, err = shell.Quote("sh", "-c", lowly+others+"exec "+lines[0])
	return command, senders, err
}

// ask is about one of the commands that rsync may run: by the name that it asks for, empty for
// the ordinary one.
type ask struct {
	name string
	zstd bool
	more []string
}

// lowly is how the shell of the sender begins. A plan that does not speak of the commits
// is one of before this was looked at, or somebody's own.
func (s *CopyKey) lowly(in In, t tree) (string, error) {
	commits, err := commitLimit(given(s.CommitLimit, in.Self.Copying.CommitLimit))
	if err != nil || commits.Off || s.CommitLimit == "" {
		return "", err
	}
	dir, err := shell.Quote(t.source)
	return effect.LowlySender(dir), err
}
