package steps

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// Rsync pulls the data directory and the tablespaces from the upstream, inside
// a backup and a copy-key bracket. pg_control comes last.
type Rsync struct {
	From     string `yaml:"from"`     // upstream, or another host
	Streams  string `yaml:"streams"`  // auto, or how many
	Compress string `yaml:"compress"` // auto, zstd, none
	BWLimit  string `yaml:"bwlimit"`  // bytes a second of all streams, as 50MB
	// CommitLimit is how long a commit on the upstream may take before the copy
	// slows down; auto is twice as long as before it. none is no limit.
	CommitLimit string `yaml:"commit-limit"`
}

var _ Step = (*Rsync)(nil)

// Validate is called when a plan file is read.
func (s *Rsync) Validate() error {
	if _, err := copyOptions(s.Streams, s.Compress, s.BWLimit, &facts.Host{}, &facts.Host{}); err != nil {
		return err
	}
	if _, err := commitLimit(s.CommitLimit); err != nil {
		return err
	}
	return nil
}

// Plan copies into an empty directory, or goes on with an unfinished copy by
// content.
func (s *Rsync) Plan(ctx context.Context, in In) (Planned, error) {
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("%s", reason), nil
	}
	copied, err := in.copied(ctx)
	if err != nil {
		return Planned{}, err
	}
	if copied {
		return noop("this run has copied it already, and its backup has ended"), nil
	}
	c, err := s.seeding(ctx, in)
	if err != nil {
		return Planned{}, err
	}
	var p Planned
	add := func(e effect.Effect) { p.Effects = append(p.Effects, e) }
	dir, as := in.Self.Postgres.DataDirectory, in.Self.Postgres.OSUser
	if c.self.Data.Overwrites() {
		add(clearStale(in.Self, c.uf))
	}
	for _, t := range c.trees {
		e, err := c.copy(ctx, in, t)
		if err != nil {
			return Planned{}, err
		}
		if t.target != dir {
			add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: t.target, Mode: 0o700})
		}
		add(e)
	}
	// rsync leaves pg_wal out: on the upstream it may be a symlink to a disk
	// that is not here. Without the others a server does not start, or panics
	// at its first checkpoint.
	add(&effect.MakeDirs{Host: in.Self.Name, As: as, In: dir, Names: c.uf.Server.Version.RequiredDirs(), Mode: 0o700})
	for _, t := range c.trees {
		if t.link != "" {
			add(&effect.Link{Host: in.Self.Name, As: as, Path: path.Join(dir, t.link), Target: path.Dir(t.target), Why: "(" + t.what + " is kept there here)"})
		}
	}
	add(&effect.FetchControl{Host: in.Self.Name, As: as, From: c.up.Name, FromAs: c.up.Postgres.OSUser, Source: c.uf.Server.DataDirectory, Target: dir, SystemID: c.uf.Server.SystemID, Boot: c.self.Machine.BootID})
	return p, nil
}

// seeding is what the copies of all directory trees of a plan have in common.
type seeding struct {
	self   *facts.Host
	up     *inventory.Host // who is read
	uf     *facts.Host
	keeper *inventory.Host // the upstream, which keeps the WAL of the meantime
	kf     *facts.Host
	trees  []tree
	wal    effect.WALSpace // of the keeper
	how    copying
	limit  effect.CommitLimit
	lowly  bool     // it has to give way to what else the upstream does
	keys   string   // directory of the copy's keys
	own    []string // patterns of what the target keeps of its own
}

// seeding looks at both ends, and refuses what could not be copied.
func (s *Rsync) seeding(ctx context.Context, in In) (c seeding, err error) {
	if c.self, err = in.self(ctx); err != nil {
		return c, err
	}
	if c.keeper, c.kf, err = in.upstream(ctx); err != nil {
		return c, err
	}
	if c.up, c.uf, err = in.source(ctx, s.From); err != nil {
		return c, err
	}
	if err := in.refuseLateSource(ctx, c.up); err != nil {
		return c, err
	}
	if err := refuseOrphanLinks(ctx, c.up, c.uf); err != nil {
		return c, err
	}
	if c.trees, err = copyTrees(ctx, in.Self, c.uf); err != nil {
		return c, err
	}
	server := c.kf.Server
	c.wal = effect.WALSpace{As: c.keeper.Postgres.OSUser, Dir: path.Join(server.DataDirectory, server.Version.WALDir()), Segment: int64(c.kf.Data.Control.WALSegmentSize)}
	if err := in.roomForWAL(ctx, c.keeper, c.kf, c.wal); err != nil {
		return c, err
	}
	if c.how, err = in.copying(s.Streams, s.Compress, s.BWLimit, c.self, c.uf); err != nil {
		return c, err
	}
	if c.limit, err = commitLimit(given(s.CommitLimit, in.Self.Copying.CommitLimit)); err != nil {
		return c, err
	}
	c.lowly = !c.limit.Off
	if c.uf.Server.InRecovery || in.Self.Relay {
		c.limit = effect.CommitLimit{Off: true} // nobody commits there; or what would have to stop is not rsync alone
	}
	if in.Self.Relay {
		c.how.streams = min(c.how.streams, relayStreams)
	}
	if c.keys, err = copyDir(in, c.self); err != nil {
		return c, err
	}
	if c.self.Data.Overwrites() {
		c.own, err = in.ownFiles(ctx, c.self)
	}
	return c, err
}

// copy is the copy of one tree.
func (c seeding) copy(ctx context.Context, in In, t tree) (*effect.Copy, error) {
	if t.main {
		t.excludes = append(t.excludes, c.own...)
	}
	relay, err := in.relayed(ctx, c.self, c.how, t)
	if err != nil {
		return nil, err
	}
	argv, err := c.argv(t, relay == nil)
	if err != nil {
		return nil, err
	}
	dir, as, fromAs := in.Self.Postgres.DataDirectory, in.Self.Postgres.OSUser, c.up.Postgres.OSUser
	empty, err := t.empty(ctx, as, c.self)
	if err != nil {
		return nil, err
	}
	start, _ := in.Run.Output(effect.BackupStartLSN)
	e := &effect.Copy{Host: in.Self.Name, As: as, Argv: argv, What: t.what, From: c.up.Name, FromAs: fromAs, Source: t.of, Tree: t.source, Into: t.target, Data: dir,
		Fresh: c.self.Data.Marker.WasEmpty, Cleared: c.self.Data.Overwrites(), Empty: empty, Alone: alone(c.self), Appends: appends(c.self) && relay == nil, EmptiesWAL: t.wal(in.Self),
		Streams: c.how.streams, Compress: c.how.compress, Plain: c.how.plain, Limit: c.how.limit, Commits: c.limit, Lowly: c.lowly, Total: t.size,
		Slot: in.Self.Slot, SlotOn: c.keeper.Name, Holds: c.up == c.keeper && in.holds(c.kf), Unkept: in.Self.Slot == "" && len(in.Cluster.Archives) == 0, WAL: c.wal,
		Key: keyFile(c.keys, t), Relay: relay, Backup: start, Version: c.uf.Server.BackupVersion(), Boot: c.self.Machine.BootID}
	if t.target == dir {
		e.Then, err = in.predictData(ctx, c.self, c.uf, t.source, fromAs)
	}
	return e, err
}

// argv is rsync's, with an ssh of its own unless the copy is relayed.
func (c seeding) argv(t tree, direct bool) ([]string, error) {
	argv := append([]string{"rsync"}, c.how.flags(false)...)
	if direct {
		transport, err := c.transport(t)
		if err != nil {
			return nil, err
		}
		argv = append(argv, "-e", transport)
	}
	for _, x := range t.excludes {
		argv = append(argv, "--exclude="+x)
	}
	return append(argv, rsyncHost(c.up.Address)+":"+t.source+"/", t.target+"/"), nil
}

// predictData is what a preview is told of the copy of the data directory.
func (in In) predictData(ctx context.Context, self, uf *facts.Host, upDir, upAs string) (func(*facts.Host), error) {
	if self.Data.Overwrites() {
		return nil, nil // its configuration stays its own, and a label is cleared
	}
	brought, err := predictCopy(ctx, in, uf, upDir, upAs)
	if earlier, _ := in.Run.Output(effect.BackupLabel); err != nil || earlier == "" {
		return brought, err
	}
	// The label that is there is of an earlier backup of this run, whose end a preview takes
	// for that of the next one.
	label, err := self.File(ctx, in.Self.Postgres.OSUser, path.Join(in.Self.Postgres.DataDirectory, "backup_label"))
	if err != nil || !label.Exists {
		return brought, err
	}
	label.Data = nil
	return func(h *facts.Host) {
		if brought != nil {
			brought(h)
		}
		h.SetFile(in.Self.Postgres.OSUser, label)
	}, nil
}

// roomForWAL refuses a copy that would be given up at its first look at the disk, before
// anything is stopped or overwritten for it.
func (in In) roomForWAL(ctx context.Context, keeper *inventory.Host, kf *facts.Host, wal effect.WALSpace) error {
	if in.Self.Slot == "" || !kf.Server.Running {
		return nil
	}
	list, err := kf.Space(ctx, wal.As, []string{wal.Dir})
	if err != nil {
		return err
	}
	for _, s := range list {
		if need := wal.Reserve(s.TotalBytes); s.TotalBytes > 0 && s.FreeBytes < need {
			return fault.Refuse(keeper.Name, "make room there; or let it stream from, or copy from, a host that has room: upstream in the inventory, --from",
				fmt.Errorf("%s of %s are free where %s is: a slot keeps all WAL while the copy is made, and it is given up with less than %s free, so that the server does not stop",
					postgres.PrettyBytes(s.FreeBytes), postgres.PrettyBytes(s.TotalBytes), wal.Dir, postgres.PrettyBytes(need)))
		}
	}
	return nil
}

// alone: all that is in the data directory is of this run, whose rsync can compare times
// to the nanosecond (3.1.3; whether it knows zstd, which came later, is a fact).
func alone(h *facts.Host) bool { return h.Data.Marker.Alone && h.Machine.RsyncZstd }

// appends: there may be files that this run has begun.
func appends(h *facts.Host) bool { return alone(h) && h.Data.HasData }

// rsyncFlags are all but the filters, which travel inside the protocol: the key
// allows one command, so both ends must be told the same. Every file that is there
// already is compared by content, in blocks of a page: size and time of a file that a
// live server writes prove nothing (two of four re-seeds served errors). One that is
// not is copied whole all the same: there is nothing to compare with.
func rsyncFlags() []string {
	return []string{"-rlpt", "--no-devices", "--no-specials", "--inplace", "--delete", "--timeout=300",
		"--no-inc-recursive", "--info=progress2", "--stats", "--outbuf=L", "--ignore-times", "--no-whole-file", "--block-size=8192"}
}

// transport is rsync's -e. Nothing of the standby's own ssh configuration takes
// part: one key, one known host.
func (c seeding) transport(t tree) (string, error) {
	argv := append(oneHeap(), sshOf(c.self, c.up, c.uf)...)
	argv = append(argv, "-i", keyFile(c.keys, t), "-o", "UserKnownHostsFile="+path.Join(c.keys, "known_hosts"))
	line, err := shell.Quote(argv...)
	if err != nil {
		return "", fmt.Errorf("ssh command: %w", err)
	}
	return line, nil
}

// sshOf is the ssh of a copy, but for its key, its known hosts and the address.
func sshOf(self *facts.Host, up *inventory.Host, uf *facts.Host) []string {
	ciphers := "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"
	if self.Machine.AES && uf.Machine.AES {
		ciphers = "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"
	}
	ciphers += otherCiphers
	// What the configuration of ssh says on this machine counts for the copy, too.
	port := cmp.Or(up.SSH.Port, uf.Machine.SSHPort, 22)
	argv := []string{"ssh", "-F", "/dev/null", "-p", strconv.Itoa(port), "-l", uf.Machine.LoginUser, "-c", ciphers}
	for _, o := range []string{"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=" + hostKeyAlias,
		"GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no", "KexAlgorithms=" + keyExchanges,
		"Compression=no", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ForwardAgent=no", "ClearAllForwardings=yes"} {
		argv = append(argv, "-o", o)
	}
	return argv
}

// knownSource is the line of known_hosts by which the source of a copy is known.
func knownSource(uf *facts.Host) string { return hostKeyAlias + " " + uf.Machine.HostKey }

// otherCiphers are for an sshd that was told to allow none of the fast ones.
const otherCiphers = ",aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"

// keyExchanges begins with the cheapest. They are named one by one: to put one before ssh's
// own list ("^") is of 8.1, and 8.0 (RHEL 8) refuses to start. The others are for hosts
// that are held to FIPS, or to long keys.
const keyExchanges = "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512"

// oneHeap is for the ssh that rsync starts. It makes the buffer of a channel a little larger with
// each packet that does not fit, up to 2 MiB and more (sshbuf.c of 9.2), and glibc would map
// each of these anew and give it back: on a virtual machine the page faults were half of the
// time of a copy of 38 MB.
func oneHeap() []string {
	return []string{"env", "MALLOC_MMAP_THRESHOLD_=33554432", "MALLOC_TRIM_THRESHOLD_=67108864", "MALLOC_TOP_PAD_=8388608"}
}

// rsyncHost: of an IPv6 address rsync would take the first part for the host and
// the rest for a module of its daemon.
func rsyncHost(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}
