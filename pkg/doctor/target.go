package doctor

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ends are both ends of the copy, when there will be one.
func (p pair) ends() []subject {
	if !p.target() {
		return nil
	}
	return []subject{p.standby, p.upstream}
}

func rsyncMissing(p pair) []found {
	var out []found
	for _, s := range p.ends() {
		if s.f.Machine.Tools["rsync"] == "" {
			out = append(out, one("sudo apt-get install rsync, or sudo dnf install rsync", "no rsync on %s", s.inv.Name)...)
		}
	}
	return out
}

// sshMissing: rsync of the standby starts it, and pulls.
func sshMissing(p pair) []found {
	if !p.target() || p.standby.inv.Relay || p.standby.f.Machine.Tools["ssh"] != "" {
		return nil
	}
	return one("sudo apt-get install openssh-client, or sudo dnf install openssh-clients; or copy: relay in the inventory", "no ssh on %s", p.standby.inv.Name)
}

func rsyncTooOld(p pair) []found {
	var out []found
	for _, s := range p.ends() {
		if v := s.f.Machine.RsyncVersion; s.f.Machine.Tools["rsync"] != "" && older(v, 3, 1, 3) {
			out = append(out, one("update rsync on "+s.inv.Name, "rsync on %s is %s, 3.1.3 is needed", s.inv.Name, orUnknown(v))...)
		}
	}
	return out
}

func rsyncInsecure(p pair) []found {
	var out []found
	for _, s := range p.ends() {
		v := s.f.Machine.RsyncVersion
		if s.f.Machine.Tools["rsync"] != "" && older(v, 3, 4, 0) && !older(v, 3, 1, 3) {
			out = append(out, one("update rsync on "+s.inv.Name+", unless its distribution has the fixes in this version",
				"rsync on %s is %s: known holes are closed in 3.4.0", s.inv.Name, v)...)
		}
	}
	return out
}

func orUnknown(v string) string {
	if v == "" {
		return "of an unknown kind"
	}
	return v
}

// older compares dotted numbers; what is not a version is older than all.
func older(v string, than ...int) bool {
	parts := strings.Split(v, ".")
	for i, want := range than {
		n := 0
		if i < len(parts) {
			var err error
			if n, err = strconv.Atoi(parts[i]); err != nil {
				return true
			}
		}
		if n != want {
			return n < want
		}
	}
	return false
}

func architectureDiffers(p pair) []found {
	a, b := p.standby.f.Machine.Arch, p.upstream.f.Machine.Arch
	if a == "" || b == "" || a == b {
		return nil
	}
	return one("use a host of the same architecture", "it is %s, %s is %s", a, p.upstream.inv.Name, b)
}

func blockSizeDiffers(p pair) []found {
	if !p.target() {
		return nil
	}
	m, c := p.standby.f.Machine, p.upstream.f.Data.Control
	var out []found
	for _, x := range []struct {
		setting    string
		here, down int64 // down: of the control file, for an upstream that does not run
	}{{"block_size", m.BlockSize, int64(c.BlockSize)}, {"wal_block_size", m.WALBlockSize, int64(c.WALBlockSize)}, {"segment_size", m.SegmentBlocks, int64(c.RelationSegment)}} {
		theirs, ok := p.upstream.number(x.setting)
		if !ok {
			theirs = x.down
		}
		if x.here != 0 && theirs != 0 && x.here != theirs {
			out = append(out, one("install the same packages as on "+p.upstream.inv.Name, "%s of the programs in %s is %d, that of %s is %d", x.setting, m.BinDirectory, x.here, p.upstream.inv.Name, theirs)...)
		}
	}
	return out
}

func libcDiffers(p pair) []found {
	a, b := p.standby.f.Machine.Glibc, p.upstream.f.Machine.Glibc
	if a == b {
		return nil
	}
	return one("use the same release of the operating system; or reindex all text indexes after a promotion, and accept",
		"its C library is %s, that of %s is %s", orOther(a), p.upstream.inv.Name, orOther(b))
}

func orOther(glibc string) string {
	if glibc == "" {
		return "not glibc"
	}
	return "glibc " + glibc
}

func icuDiffers(p pair) []found {
	a, b := p.standby.f.Machine.ICU, p.upstream.f.Machine.ICU
	if !p.upstream.sorting.ICU || a == "" || b == "" || a == b {
		return nil
	}
	return one("use the same release of the operating system; or reindex all text indexes after a promotion, and accept",
		"its server has ICU %s, that of %s has ICU %s", a, p.upstream.inv.Name, b)
}

func releasePair(p pair) []found {
	sb, up := p.standby.f.Machine.BinVersion, p.upstream.f.Server.Version
	if p.standby.f.Server.Running {
		sb = p.standby.f.Server.Version
	}
	if sb == 0 || up == 0 {
		return nil
	}
	out := issues(postgres.KnownBadPair(sb, up))
	for i := range out {
		out[i].text = fmt.Sprintf("%s has %s, its upstream %s has %s: %s", p.standby.inv.Name, sb, p.upstream.inv.Name, up, out[i].text)
	}
	return out
}

// knownBadStandby: of a server that runs, knownBad tells, and so it does of the faults
// that its upstream has, too, which need not be told twice.
func knownBadStandby(p pair) []found {
	sb, up := p.standby.f.Machine.BinVersion, p.upstream.f.Server.Version
	if !p.target() || p.standby.f.Server.Running || sb == 0 || up != 0 && !sb.SameMajor(up) {
		return nil
	}
	told := knownBad(p.upstream)
	out := slices.DeleteFunc(issues(postgres.KnownBad(sb, p.upstream.settings)), func(f found) bool {
		return slices.ContainsFunc(told, func(t found) bool { return t.id == f.id })
	})
	for i := range out {
		out[i].text = fmt.Sprintf("%s is to run %s: %s", p.standby.inv.Name, sb, out[i].text)
	}
	return out
}

func targetIsSource(p pair) []found {
	a, b := p.standby.f, p.upstream.f
	if a.Data.Inode == "" || a.Data.Inode != b.Data.Inode || a.Machine.BootID != b.Machine.BootID || a.Machine.MachineID != b.Machine.MachineID {
		return nil
	}
	return one("correct its address in the inventory", "%s is the data directory of %s itself", a.Data.Path, p.upstream.inv.Name)
}

func targetSystemDirectory(p pair) []found {
	system := []string{
		"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
		"/sys", "/tmp", "/usr", "/var", "/dev/shm", "/etc/postgresql", "/usr/bin", "/usr/lib", "/usr/local", "/usr/share", "/var/lib", "/var/log",
		"/var/run", "/var/tmp", "/var/lib/postgresql", "/var/lib/pgsql",
	}
	if dir := path.Clean(p.standby.f.Data.Path); p.target() && slices.Contains(system, dir) {
		return one("correct data_directory in the inventory", "%s is a directory of the system", dir)
	}
	return nil
}

func targetMountPoint(p pair) []found {
	d := p.standby.f.Data
	if !p.target() || !d.MountPoint || d.Path == "/" {
		return nil
	}
	return one("use a directory below it: data_directory: "+path.Join(d.Path, "data"), "%s is a mount point", d.Path)
}

func targetForeign(p pair) []found {
	d := p.standby.f.Data
	if d.State != facts.Foreign {
		return nil
	}
	text := d.Note
	if len(d.Sample) > 0 {
		text = strings.TrimPrefix(text+"; it holds "+fmt.Sprintf("%q", d.Sample), "; ")
	}
	return one("empty it, or correct data_directory in the inventory", "%s is not empty and no data directory: %s", d.Path, text)
}

func targetServerRunning(p pair) []found {
	d := p.standby.f.Data
	if !p.target() || p.reseed && systemID(d) == p.upstreamID() || d.PID == 0 {
		return nil
	}
	return one("if it may go, stop it", "a server runs in %s (process %d)", d.Path, d.PID)
}

func targetOtherSystem(p pair) []found {
	d, id := p.standby.f.Data, p.upstreamID()
	held := systemID(d)
	if d.State == facts.Partial {
		held = d.Marker.SystemID
	}
	if held == "" || id == "" || held == id {
		return nil
	}
	return one("if nobody needs those data: mv "+d.Path+" "+d.Path+".old", "%s holds another cluster: system identifier %s, that of %s is %s", d.Path, held, p.upstream.inv.Name, id)
}

func targetNotStandby(p pair) []found {
	d := p.standby.f.Data
	if p.reseed || d.Standby || systemID(d) == "" || systemID(d) != p.upstreamID() {
		return nil
	}
	return one("if nobody needs what only it has: pgrepctl standby reseed "+p.standby.inv.Name, "%s holds a copy of this cluster that is not a standby", d.Path)
}

func targetPort(p pair) []found {
	f := p.standby.f
	if !p.target() || !f.Machine.PortInUse || f.Data.PID != 0 {
		return nil
	}
	return one("stop what listens there, or correct port in the inventory", "something else listens on port %d", p.standby.inv.Postgres.Port)
}

func targetConfigDirectory(p pair) []found {
	pg := p.standby.inv.Postgres
	if pg.ConfigDirectory == pg.DataDirectory || p.standby.f.Config.HasConfig {
		return nil
	}
	remedy := "put postgresql.conf and pg_hba.conf there"
	if m := regexp.MustCompile(`^/etc/postgresql/([0-9.]+)/([^/]+)$`).FindStringSubmatch(pg.ConfigDirectory); m != nil {
		remedy = fmt.Sprintf("sudo pg_createcluster %s %s -d %s -p %d; then empty its new data directory", m[1], m[2], pg.DataDirectory, pg.Port)
	}
	return one(remedy, "no postgresql.conf in %s", pg.ConfigDirectory)
}

func targetTmpFS(p pair) []found {
	if !p.target() || p.standby.f.Machine.TmpFS != "" {
		return nil
	}
	return one("mount a tmpfs on /dev/shm", "no memory file system that %s can write to", p.standby.inv.Postgres.OSUser)
}

func standbyParameters(p pair) []found {
	if !p.upstream.f.Server.Running {
		return nil
	}
	var out []found
	for _, name := range p.upstream.f.Server.Version.StandbyParameters() {
		need, ok := p.upstream.number(name)
		own, _ := p.own(name)
		have, err := strconv.ParseInt(own, 10, 64)
		if ok && err == nil && have < need {
			out = append(out, one("the plan raises it", "%s is %d, that of %s is %d", name, have, p.upstream.inv.Name, need)...)
		}
	}
	return out
}

func hotStandbyOff(p pair) []found {
	value, _ := p.own("hot_standby")
	if s := p.standby.setting("hot_standby"); s != "" {
		value = s
	}
	if !slices.Contains([]string{"off", "no", "false", "0"}, strings.ToLower(value)) {
		return nil
	}
	if v := p.upstream.f.Server.Version; v != 0 && !v.HotStandbyByDefault() {
		return nil // the plan sets it
	}
	return one("hot_standby: on under settings: of "+p.standby.inv.Name+" in the inventory", "hot_standby is off")
}
