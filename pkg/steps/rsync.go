package steps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	self, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	keeper, kf, err := in.upstream(ctx)
	if err != nil {
		return Planned{}, err
	}
	up, uf, err := in.source(ctx, s.From)
	if err == nil {
		err = in.refuseLateSource(ctx, up)
	}
	if err != nil {
		return Planned{}, err
	}
	trees, err := copyTrees(ctx, in.Self, uf)
	if err != nil {
		return Planned{}, err
	}
	wal := effect.WALSpace{As: keeper.Postgres.OSUser, Dir: path.Join(kf.Server.DataDirectory, kf.Server.Version.WALDir()), Segment: int64(kf.Data.Control.WALSegmentSize)}
	if err := in.roomForWAL(ctx, keeper, kf, wal); err != nil {
		return Planned{}, err
	}
	dir := in.Self.Postgres.DataDirectory
	as := in.Self.Postgres.OSUser
	var p Planned
	add := func(e effect.Effect) { p.Effects = append(p.Effects, e) }
	start, _ := in.Run.Output(effect.BackupStartLSN)
	how, err := in.copying(s.Streams, s.Compress, s.BWLimit, self, uf)
	if err != nil {
		return Planned{}, err
	}
	commits, err := commitLimit(given(s.CommitLimit, in.Self.Copying.CommitLimit))
	if err != nil {
		return Planned{}, err
	}
	lowly := !commits.Off
	if uf.Server.InRecovery || in.Self.Relay {
		commits = effect.CommitLimit{Off: true} // nobody commits there; or what would have to stop is not rsync alone
	}
	key, err := copyDir(in, self)
	if err != nil {
		return Planned{}, err
	}
	if in.Self.Relay {
		how.streams = min(how.streams, relayStreams)
	}
	var own []string
	if self.Data.Overwrites() {
		if own, err = in.ownFiles(ctx, self); err != nil {
			return Planned{}, err
		}
		add(clearStale(in.Self, uf))
	}
	for _, t := range trees {
		if t.main {
			t.excludes = append(t.excludes, own...)
		}
		argv := append([]string{"rsync"}, how.flags(false)...)
		relay, err := in.relayed(ctx, self, how, t)
		if err != nil {
			return Planned{}, err
		}
		if relay == nil {
			transport, err := s.transport(in, self, uf, up, t)
			if err != nil {
				return Planned{}, err
			}
			argv = append(argv, "-e", transport)
		}
		for _, x := range t.excludes {
			argv = append(argv, "--exclude="+x)
		}
		argv = append(argv, rsyncHost(up.Address)+":"+t.source+"/", t.target+"/")
		empty, err := t.empty(ctx, as, self)
		if err != nil {
			return Planned{}, err
		}
		c := &effect.Copy{Host: in.Self.Name, As: as, Argv: argv, What: t.what, From: up.Name, Into: t.target, Fresh: self.Data.Marker.WasEmpty, Cleared: self.Data.Overwrites(), EmptiesWAL: t.wal(in.Self), Empty: empty, Alone: alone(self), Appends: appends(self) && relay == nil, Slot: in.Self.Slot, Holds: up == keeper && in.holds(kf), Total: t.size,
			Streams: how.streams, Compress: how.compress, Plain: how.plain, Limit: how.limit, Commits: commits, Lowly: lowly, Key: keyFile(key, t), Source: t.of, Tree: t.source, Backup: start, Version: uf.Server.BackupVersion(),
			FromAs: up.Postgres.OSUser, SlotOn: keeper.Name, Relay: relay, Data: dir, Boot: self.Machine.BootID,
			Unkept: in.Self.Slot == "" && len(in.Cluster.Archives) == 0, WAL: wal}
		if t.target == dir {
			if c.Then, err = in.predictData(ctx, self, uf, t.source, up.Postgres.OSUser); err != nil {
				return Planned{}, err
			}
		} else {
			add(&effect.MakeDir{Host: in.Self.Name, As: as, Path: t.target, Mode: 0o700})
		}
		add(c)
	}
	// rsync leaves pg_wal out: on the upstream it may be a symlink to a disk
	// that is not here. Without the others a server does not start, or panics
	// at its first checkpoint.
	add(&effect.MakeDirs{Host: in.Self.Name, As: as, In: dir, Names: uf.Server.Version.RequiredDirs(), Mode: 0o700})
	for _, t := range trees {
		if t.link != "" {
			add(&effect.Link{Host: in.Self.Name, As: as, Path: path.Join(dir, t.link), Target: path.Dir(t.target), Why: "(" + t.what + " is kept there here)"})
		}
	}
	add(&effect.FetchControl{Host: in.Self.Name, As: as, From: up.Name, FromAs: up.Postgres.OSUser, Source: uf.Server.DataDirectory, Target: dir, SystemID: uf.Server.SystemID, Boot: self.Machine.BootID})
	return p, nil
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

// wal is where the WAL goes that comes with the data directory, if it is elsewhere.
func (t tree) wal(to *inventory.Host) string {
	if !t.main {
		return ""
	}
	return to.Postgres.WALDirectory
}

// empty: nothing of any copy is in its target yet.
func (t tree) empty(ctx context.Context, as string, h *facts.Host) (bool, error) {
	if t.main {
		return !h.Data.HasData, nil
	}
	names, err := h.List(ctx, as, t.target)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return false, fmt.Errorf("list %s on %s: %w", t.target, h.Name, err)
	}
	return len(names) == 0, nil
}

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
func (s *Rsync) transport(in In, self, uf *facts.Host, up *inventory.Host, t tree) (string, error) {
	dir, err := copyDir(in, self)
	if err != nil {
		return "", err
	}
	ciphers := "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com"
	if self.Machine.AES && uf.Machine.AES {
		ciphers = "aes128-gcm@openssh.com,chacha20-poly1305@openssh.com"
	}
	port := up.SSH.Port
	if port == 0 {
		port = 22
	}
	argv := append(oneHeap(), "ssh", "-F", "/dev/null", "-i", keyFile(dir, t), "-p", strconv.Itoa(port), "-l", uf.Machine.LoginUser, "-c", ciphers)
	for _, o := range []string{"IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=" + hostKeyAlias,
		"UserKnownHostsFile=" + path.Join(dir, "known_hosts"), "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no", "KexAlgorithms=" + keyExchanges,
		"Compression=no", "ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ForwardAgent=no", "ClearAllForwardings=yes"} {
		argv = append(argv, "-o", o)
	}
	line, err := shell.Quote(argv...)
	if err != nil {
		return "", fmt.Errorf("ssh command: %w", err)
	}
	return line, nil
}

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

// tree is one directory tree of the copy.
type tree struct {
	what, source, target string
	of                   string // the tablespace's location, or the data directory
	excludes             []string
	link                 string // in the data directory, of a tablespace that moves
	size                 int64
	main                 bool // the data directory
}

// copyTrees are the tablespaces, then the data directory.
func copyTrees(ctx context.Context, to *inventory.Host, up *facts.Host) ([]tree, error) {
	v := up.Server.Version
	excludes := patterns(v.BackupExcludes())
	settings, err := up.Settings(ctx)
	if err != nil {
		return nil, err
	}
	// Where the server itself puts what belongs to the running server only.
	for _, name := range []string{"log_directory", "external_pid_file", "stats_temp_directory", "promote_trigger_file"} {
		p, ok := settings.Lookup(name)
		if !ok || p.Value == "" {
			continue
		}
		x, inside, err := postgres.ExcludePath(up.Server.DataDirectory, p.Value, "")
		if err != nil {
			return nil, err
		}
		if inside {
			excludes = append(excludes, x.Pattern)
		}
	}
	// Written by the standby-config step before the copy began.
	excludes = append(excludes, "/postgresql.auto.conf")
	if to.Postgres.ConfigDirectory != to.Postgres.DataDirectory {
		for _, f := range configFiles() {
			excludes = append(excludes, "/"+f)
		}
	}
	var out []tree
	rest := up.Server.SizeBytes
	for _, ts := range up.Server.Tablespaces {
		rest -= ts.SizeBytes
		if strings.HasPrefix(ts.Location, up.Server.DataDirectory+"/") {
			return nil, fault.Refuse(up.Name, "move it outside the data directory",
				fmt.Errorf("tablespace %s lies inside the data directory, in %s", ts.Name, ts.Location))
		}
		if up.Data.Control.CatalogVersion == 0 {
			return nil, errors.New("catalog version not known")
		}
		sub := fmt.Sprintf("PG_%s_%d", v.Major(), up.Data.Control.CatalogVersion)
		t := tree{what: "tablespace " + ts.Name, of: ts.Location, source: path.Join(ts.Location, sub), target: path.Join(movedTo(to, ts.Location), sub), excludes: patterns(v.TablespaceExcludes()), size: ts.SizeBytes}
		if t.source != t.target {
			// The link is the standby's own.
			t.link = path.Join("pg_tblspc", strconv.FormatInt(ts.OID, 10))
			excludes = append(excludes, "/"+t.link)
		}
		out = append(out, t)
	}
	return append(out, tree{what: "the data directory", of: up.Server.DataDirectory, source: up.Server.DataDirectory, target: to.Postgres.DataDirectory, excludes: excludes, size: max(0, rest), main: true}), nil
}

// movedTo is where a tablespace of the source goes on a host: to the same place, or
// where the inventory wants it.
func movedTo(to *inventory.Host, location string) string {
	return cmp.Or(to.Postgres.Tablespaces[location], location)
}

func patterns(list []postgres.Exclude) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.Pattern
	}
	return out
}
