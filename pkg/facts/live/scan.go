package live

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// errTorn is a control file that was read while the server wrote it.
var errTorn = errors.New("control file was read while it was written")

// scan is what one run of scanScript told.
type scan struct {
	data      facts.DataDir
	config    facts.ConfigDir
	socketDir string
	hasSocket bool
	port      int  // that the live postmaster was started with; 0: none
	orphan    bool // a server lives there that its postmaster.pid does not name
	portInUse bool
	clock     time.Time
	free      int64
	total     int64
	tmpfs     string
	runs      []facts.Run
	binaries  binaries
	whole     bool // binaries were looked at, and found
	service   facts.Service
}

// complete adds to the machine what only its owner of the data directory sees.
func (s *scan) complete(m facts.Machine) facts.Machine {
	if !s.clock.IsZero() {
		m.Clock = s.clock
	}
	m.FreeBytes, m.TotalBytes, m.TmpFS = s.free, s.total, s.tmpfs
	m.SocketDir, m.PortInUse = s.socketDir, s.portInUse
	return s.binaries.complete(m)
}

// parseScan returns a complete scan together with errTorn when a control file is
// there and is not sound; the caller decides how often to ask again.
func parseScan(r record, pg inventory.Postgres) (*scan, error) {
	s := &scan{clock: parseClock(r.get("clock")), portInUse: r.has("port_in_use"), tmpfs: r.get("tmpfs")}
	df := parseDF(r.get("df"))
	s.free, s.total = df.free, df.total
	s.config = facts.ConfigDir{HasConfig: r.has("config_main")}
	s.binaries = parseBinaries(r, pg.Version)

	uid, err := strconv.Atoi(r.get("uid"))
	if err != nil {
		return nil, fmt.Errorf("read user id: %w", err)
	}
	lock := parsePostmasterPID(r.get("file:postmaster.pid"))
	if s.data, err = parseData(r, pg, df); err != nil && !errors.Is(err, errTorn) {
		return nil, err
	}
	s.data.PID = livePID(r, lock.pid, s.data.Path, uid)
	s.orphan = s.data.PID != 0 && s.data.PID != lock.pid
	if s.data.PID != 0 && s.data.PID == lock.pid {
		s.port = lock.port
	}
	s.service = parseService(r, s.data.PID)
	s.runs = parseRuns(r.values["run"])
	s.socketDir, s.hasSocket = pickSocket(r.values["socket"], pg.SocketDirectory, lock)
	return s, err
}

func parseData(r record, pg inventory.Postgres, df space) (facts.DataDir, error) {
	d := facts.DataDir{Path: realPath(pg.DataDirectory, r.get("near"), r.get("near_real"))}
	d.UID, d.Inode = parseStat(r.get("stat"))
	d.Sample = slices.Clone(r.values["name"])
	slices.Sort(d.Sample)
	d.HasData = slices.ContainsFunc(d.Sample, isData)
	switch r.get("kind") {
	case "absent":
		d.State = facts.Absent
		return d, nil
	case "other":
		d.State, d.Note = facts.Foreign, "it is not a directory"
		return d, nil
	case "unreadable":
		d.State, d.Note = facts.Foreign, fmt.Sprintf("user id %d owns it and %s cannot read it", d.UID, pg.OSUser)
		return d, nil
	case "directory":
	default:
		return d, fmt.Errorf("read kind of %s: %q", pg.DataDirectory, r.get("kind"))
	}
	d.MountPoint = df.mount != "" && df.mount == d.Path
	d.Version = strings.TrimSpace(r.get("file:PG_VERSION"))
	d.HistoryOf, d.History = parseHistory(r)
	d.Standby = isStandby(r, d.Version, pg.Version)
	if d.Standby {
		d.PrimarySlotName = slotSetting(conf.Parse([]byte(r.get("primary_slot"))))
	}
	control, err := parseControlHex(r.get("control"))
	switch {
	case r.has("file:" + postgres.RunMarker):
		// The marker comes first: until it is gone, nothing in the directory
		// is trusted, whatever it looks like.
		if d.Marker, err = parseMarker(r.get("file:" + postgres.RunMarker)); err != nil {
			d.State, d.Note = facts.Foreign, postgres.RunMarker+" cannot be read: "+err.Error()
			return d, nil
		}
		d.State = facts.Partial
	case r.has("control") && err == nil:
		d.State, d.Control = facts.Cluster, control
	case r.has("control") && errors.Is(err, postgres.ErrControlVersion):
		d.State, d.Control, d.Note = facts.Cluster, control, err.Error()
	case r.has("control"):
		d.State, d.Note = facts.Foreign, err.Error()
		return d, errTorn
	case len(d.Sample) == 0:
		d.State = facts.Empty
	default:
		d.State = facts.Foreign
		if d.Version != "" {
			d.Note = "it has PG_VERSION and no global/pg_control"
		}
	}
	return d, nil
}

// parseHistory reads the newest timeline history file. One that cannot be read
// tells nothing.
func parseHistory(r record) (int, []postgres.Fork) {
	name := path.Base(r.get("history"))
	tli, err := strconv.ParseUint(strings.TrimSuffix(name, ".history"), 16, 32)
	if err != nil {
		return 0, nil
	}
	forks, err := postgres.ParseHistory(r.get("file:" + r.get("history")))
	if err != nil {
		return 0, nil
	}
	return int(tli), forks
}

// isData tells what a copy brings from what is put into a directory before one
// begins. The script names up to eight entries, which is more than these.
func isData(name string) bool {
	switch name {
	case postgres.RunMarker, "standby.signal", "recovery.conf", "postgresql.auto.conf",
		"pg_wal", "pg_xlog": // a link, where the WAL goes elsewhere: no copy brings it
		return false
	}
	return true
}

// isStandby looks for the file that this version of the server reads. The other
// kind is ignored (standby.signal to 11) or refused (recovery.conf since 12), and
// ignoring it makes a writable twin.
func isStandby(r record, found, wanted string) bool {
	if found == "" {
		found = wanted
	}
	v, err := postgres.ParseVersion(found)
	if err != nil {
		return false
	}
	if v.UsesSignalFiles() {
		return r.has("standby_signal")
	}
	return r.has("recovery_conf")
}

func realPath(dir, near, nearReal string) string {
	if nearReal == "" {
		return path.Clean(dir)
	}
	rest, ok := strings.CutPrefix(dir, near)
	if !ok {
		return path.Clean(dir)
	}
	return path.Join(nearReal, rest)
}

func parseStat(s string) (uid int, inode string) {
	f := strings.Fields(s)
	if len(f) != 2 {
		return -1, ""
	}
	uid, err := strconv.Atoi(f[0])
	if err != nil {
		return -1, ""
	}
	return uid, f[1]
}

func parseMarker(s string) (facts.Marker, error) {
	var m facts.Marker
	if err := json.Unmarshal([]byte(s), &m); err != nil {
		return facts.Marker{}, err
	}
	return m, nil
}

func parseControlHex(s string) (postgres.Control, error) {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return postgres.Control{}, fmt.Errorf("decode control file: %w", err)
	}
	return postgres.ParseControl(b)
}

// space is one line of `df -Pk`.
type space struct {
	total, free int64
	mount       string
}

// parseDF takes the numbers from the right: a device name may hold spaces.
func parseDF(line string) space {
	line = host.Tail(line, 1) // the first is a heading
	m := regexp.MustCompile(`\s(\d{1,15})\s+(\d{1,15})\s+(-?\d{1,15})\s+(?:\d+%|-)\s+(/.*)$`).FindStringSubmatch(line)
	if m == nil {
		return space{}
	}
	kib := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n * 1024
	}
	return space{total: kib(m[1]), free: kib(m[3]), mount: m[4]}
}

// pidFile is postmaster.pid; its lines stand in miscadmin.h since 9.1.
type pidFile struct {
	pid, port int
	socketDir string
}

func parsePostmasterPID(s string) pidFile {
	lines := strings.Split(s, "\n")
	line := func(i int) string {
		if i < len(lines) {
			return strings.TrimRight(lines[i], "\r")
		}
		return ""
	}
	var p pidFile
	// A single-user server writes its pid negated.
	if n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line(0)), "-")); err == nil && n > 0 {
		p.pid = n
	}
	if n, err := strconv.Atoi(strings.TrimSpace(line(3))); err == nil && n > 0 && n < 1<<16 {
		p.port = n
	}
	if d := line(4); strings.HasPrefix(d, "/") {
		p.socketDir = d
	}
	return p
}

// livePID decides whether a server lives in the directory. A pid alone proves
// nothing: after a crash another process may have it, and a server whose
// postmaster.pid was removed still writes (a server overwritten while it ran
// kept answering with data that was gone).
func livePID(r record, pid int, real string, uid int) int {
	if pid != 0 && r.has("pid_owner") {
		owner, err := strconv.Atoi(r.get("pid_owner"))
		cwd := strings.TrimSuffix(r.get("pid_cwd"), " (deleted)")
		switch {
		case slices.Contains([]string{"Z", "X", "x"}, r.get("pid_state")): // it is none any more
		case cwd != "" && cwd == real:
			return pid
		case cwd == "" && (err != nil || owner == uid):
			// Ours, and it does not let us look: take it for alive.
			return pid
		}
	}
	for _, s := range r.values["server"] {
		if n, err := strconv.Atoi(s); err == nil && n > 0 {
			return n
		}
	}
	return 0
}

// pickSocket chooses among the directories that have a socket.
func pickSocket(found []string, wanted string, lock pidFile) (dir string, has bool) {
	for _, d := range []string{wanted, lock.socketDir} {
		if d != "" {
			return d, slices.Contains(found, d)
		}
	}
	if len(found) > 0 {
		return found[0], true
	}
	return "/var/run/postgresql", false
}

// pickBin takes the first directory whose server has the wanted major version,
// else the first.
func pickBin(found []string, wanted string) (string, postgres.Version) {
	var dir string
	var ver postgres.Version
	for _, f := range found {
		i := strings.LastIndex(f, "=")
		if i < 0 {
			continue
		}
		v, err := postgres.ParseVersion(f[i+1:])
		if err != nil {
			continue
		}
		if v.Major() == wanted {
			return f[:i], v
		}
		if dir == "" {
			dir, ver = f[:i], v
		}
	}
	return dir, ver
}
