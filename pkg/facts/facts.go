// Package facts is what is true of a host: the read model that every step plans
// from. A Host is a snapshot; facts/live fills it from the host itself, tests
// write it down, and a preview changes a copy of it by what each effect
// predicts, so that step n+1 is planned against the outcome of step n.
package facts

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Host is everything a step may know of one host.
type Host struct {
	Name    string
	Machine Machine
	Server  Server
	Data    DataDir
	Config  ConfigDir
	Service Service
	// Runs are those that keep a copy of their journal on this host: they are
	// going on, or were interrupted.
	Runs []Run
	// Balanced are the standbys as the host sees them, if it is a balancer; it is
	// nothing else then.
	Balanced []Balanced

	source   Source
	files    map[string]host.File
	settings postgres.Settings
	sorting  *Sorting
	roles    map[string]Role
	seen     map[Thing]string
	// emptied are directories that are predicted to hold nothing of what the host has in
	// them; false: that are gone themselves.
	emptied  map[string]bool
	expected bool // the server is predicted, and can be asked for nothing
}

// Source reads what is too large or too rarely needed to be read every time.
// All of it is read-only.
type Source interface {
	File(ctx context.Context, as, path string) (host.File, error)
	List(ctx context.Context, as, dir string) ([]host.Entry, error)
	// ReadLink is where a symlink leads; fs.ErrNotExist if there is none.
	ReadLink(ctx context.Context, as, path string) (string, error)
	Space(ctx context.Context, as string, dirs []string) ([]Space, error)
	Access(ctx context.Context, as string, dirs []string) ([]Access, error)
	Settings(ctx context.Context) (postgres.Settings, error)
	Role(ctx context.Context, name string) (Role, error)
	// SetFor says for whom else than the whole server a setting is set.
	SetFor(ctx context.Context, setting string) ([]SetFor, error)
	// ConfigErrors is the server's own judgement of its configuration files
	// as they are on disk now.
	ConfigErrors(ctx context.Context) ([]ConfigError, error)
	// RsyncServer is the command that this host's rsync would run on the
	// other end to pull path with these flags. It differs between rsync
	// versions, so it is asked for, never guessed.
	RsyncServer(ctx context.Context, flags []string, path string) ([]string, error)
	// ReplicationLogin tries a replication login from this host.
	ReplicationLogin(ctx context.Context, l host.Login) (host.System, error)
}

// Machine is the operating system's side.
type Machine struct {
	LoginUser string `json:"login_user"`
	// SSHPort is the port of the sshd that let us in, as the host has it; 0: not known.
	SSHPort int `json:"ssh_port,omitempty"`
	// ShellSays is the first line that the login user's shell prints before a command.
	ShellSays string `json:"shell_says,omitempty"`
	LoginHome string `json:"login_home"`
	// KeyFiles are the files that sshd reads the login user's keys from, nil
	// when that is not known.
	KeyFiles []string `json:"key_files"`
	// SudoRefusal is what sudo says when the login user starts an rsync
	// sender as OSUser and gives no password; empty when it lets it, or was
	// not asked.
	SudoRefusal string        `json:"sudo_refusal"`
	OSUser      string        `json:"os_user"` // owner of the data directory
	OSUserHome  string        `json:"os_user_home"`
	UID         int           `json:"uid"` // of OSUser
	MachineID   string        `json:"machine_id"`
	BootID      string        `json:"boot_id"`
	Arch        string        `json:"arch"`
	Kernel      string        `json:"kernel"` // "Linux 6.1.0-18-amd64"
	Glibc       string        `json:"glibc"`
	Cores       int           `json:"cores"`
	AES         bool          `json:"aes"`  // the processor has AES instructions
	Skew        time.Duration `json:"skew"` // host clock minus ours, within half a round trip
	Clock       time.Time     `json:"clock"`
	// Tools maps a program's name to its path; a missing one has no entry.
	Tools map[string]string `json:"tools"`
	// RsyncVersion is "3.2.7", empty when there is no rsync.
	RsyncVersion string `json:"rsync_version"`
	// RsyncZstd: it can compress with zstd (3.2 and later, if built so).
	RsyncZstd bool `json:"rsync_zstd"`
	// BinDirectory holds the server binaries of the inventory's version.
	BinDirectory string `json:"bin_directory"`
	// BinVersion is what `postgres --version` there says.
	BinVersion postgres.Version `json:"bin_version"`
	// BlockSize, WALBlockSize (bytes) and SegmentBlocks (blocks in a file of a
	// relation) are what they were compiled for; 0 when not known. Where the server
	// runs they are not asked: its control file has them.
	BlockSize     int64 `json:"block_size"`
	WALBlockSize  int64 `json:"wal_block_size"`
	SegmentBlocks int64 `json:"segment_blocks"`
	// ICU is the major version of the ICU library that they are linked with,
	// empty when there is none or it is not known.
	ICU string `json:"icu"`
	// LibDirectory is their $libdir, empty when it is not known; Libraries
	// are the names in it that end in .so.
	LibDirectory string   `json:"lib_directory"`
	Libraries    []string `json:"libraries"`
	// Locales are those of the C library, as `locale -a` spells them; none when
	// that does not tell.
	Locales []string `json:"locales"`
	HostKey string   `json:"host_key"` // "ssh-ed25519 AAAA…"
	// TmpFS is a directory on a memory file system that OSUser can write,
	// usually /dev/shm.
	TmpFS string `json:"tmpfs"`
	// FreeBytes and TotalBytes of the file system that holds, or will hold,
	// the data directory.
	FreeBytes  int64 `json:"free_bytes"`
	TotalBytes int64 `json:"total_bytes"`
	// SocketDir is the directory of the server's unix socket: the
	// inventory's, else the one found.
	SocketDir string `json:"socket_dir"`
	// PortInUse: something on this host listens on the inventory's port.
	PortInUse bool `json:"port_in_use"`
}

// Service is what systemd says of the server. It is empty where systemd does not
// run the host, or does not answer.
type Service struct {
	// Unit is the one that the inventory names, or Debian's for the cluster
	// that it names, as systemd calls it: "postgresql@15-main.service".
	Unit string `json:"unit"`
	// Load is whether there is such a unit: loaded, not-found, masked, …
	Load string `json:"load"`
	// StartTimeout is how long a start of Unit may take before systemd kills
	// what it has started, in systemd's words; empty when it may take for ever.
	StartTimeout string `json:"start_timeout"`
	// Owner is the unit that the running server belongs to. Outside: it runs,
	// and belongs to none.
	Owner   string `json:"owner"`
	Outside bool   `json:"outside"`
}

// Server is the PostgreSQL server, as it says itself. Everything but Running
// is zero when it does not run.
type Server struct {
	Running bool `json:"running"`
	// NotReady is why a live postmaster (Data.PID) accepts no session:
	// starting up, shutting down, hot_standby off. Running is then false.
	NotReady      string           `json:"not_ready,omitempty"`
	Version       postgres.Version `json:"version"`
	InRecovery    bool             `json:"in_recovery"`
	SystemID      string           `json:"system_id"`
	Timeline      int              `json:"timeline"`
	LSN           postgres.LSN     `json:"lsn"` // written on a primary, replayed on a standby
	DataDirectory string           `json:"data_directory"`
	ConfigFile    string           `json:"config_file"`
	HBAFile       string           `json:"hba_file"`
	SSL           bool             `json:"ssl"`
	SizeBytes     int64            `json:"size_bytes"` // of all databases, tablespaces and all
	StartedAt     time.Time        `json:"started_at"`
	Slots         []Slot           `json:"slots"`
	Senders       []Sender         `json:"senders"`
	SyncStandbys  string           `json:"sync_standbys"` // synchronous_standby_names
	Replay        Replay           `json:"replay"`
	Tablespaces   []Tablespace     `json:"tablespaces"`
	// PendingRestart names settings that were changed but need a restart.
	PendingRestart []string `json:"pending_restart"`
	Archiver       Archiver `json:"archiver"`
	// ExclusiveBackup: the server is in exclusive backup mode (to 14).
	ExclusiveBackup bool `json:"exclusive_backup"`
	// Lock is who holds the cluster lock, nil if nobody does.
	Lock *LockHolder `json:"lock"`
	// Limits are the settings that a standby must not have lower than its
	// primary (max_connections and its kin), as they are in force.
	Limits map[string]int `json:"limits"`
	// BackupAs is, for tests alone, the version whose functions make backups and slots
	// on a newer server, which still has them: 9.5 on 10 to 14.
	BackupAs postgres.Version `json:"-"`
}

// BackupVersion is the version whose functions make backups and slots: its own.
func (s *Server) BackupVersion() postgres.Version { return cmp.Or(s.BackupAs, s.Version) }

// LockHolder is the session that holds the cluster lock.
type LockHolder struct {
	PID         int    `json:"pid"`
	Application string `json:"application"` // names the run and its operator
	Since       string `json:"since"`
}

// Archiver is pg_stat_archiver.
type Archiver struct {
	Mode         string     `json:"mode"` // archive_mode
	LastArchived *time.Time `json:"last_archived"`
	LastFailed   *time.Time `json:"last_failed"`
	FailedFile   string     `json:"failed_file"`
}

// Failing reports that the last attempt to archive a WAL file failed.
func (a Archiver) Failing() bool {
	return a.LastFailed != nil && (a.LastArchived == nil || a.LastFailed.After(*a.LastArchived))
}

// Slot is a row of pg_replication_slots.
type Slot struct {
	Name      string `json:"name"`
	Type      string `json:"type"` // physical or logical
	Active    bool   `json:"active"`
	ActivePID int    `json:"active_pid"`
	Temporary bool   `json:"temporary"`
	// Synced (17+) is a standby's copy of a logical slot of the primary. After a promotion
	// it is an ordinary slot, and not synced, whatever the column says.
	Synced     bool          `json:"synced"`
	RestartLSN *postgres.LSN `json:"restart_lsn"`
	// ConfirmedFlushLSN is how far the consumer of a logical slot says that it is (9.6+).
	ConfirmedFlushLSN *postgres.LSN `json:"confirmed_flush_lsn"`
	WALStatus         string        `json:"wal_status"` // 13+: reserved, extended, unreserved, lost
	// InvalidationReason is why it is lost (17+): wal_removed, rows_removed,
	// wal_level_insufficient, and idle_timeout (18+).
	InvalidationReason string `json:"invalidation_reason"`
	SafeWALSize        *int64 `json:"safe_wal_size"` // 13+, bytes
	// RetainedBytes are from restart_lsn to now; nil of a lost one, which keeps none.
	RetainedBytes *int64 `json:"retained_bytes"`
	Client        string `json:"client"` // application_name of the walsender that uses it
}

// Sender is a row of pg_stat_replication.
type Sender struct {
	PID         int           `json:"pid"`
	User        string        `json:"user"`
	Application string        `json:"application"`
	Client      string        `json:"client"` // address
	State       string        `json:"state"`  // startup, catchup, streaming, backup, stopping
	SyncState   string        `json:"sync_state"`
	Sent        *postgres.LSN `json:"sent"`
	Flush       *postgres.LSN `json:"flush"`
	Replay      *postgres.LSN `json:"replay"`
	ReplayLag   *float64      `json:"replay_lag"` // seconds
	// ReplyAge is the time since the receiver last spoke, in seconds, as far
	// as the two clocks agree; nil before 12.
	ReplyAge *float64 `json:"reply_age"`
}

// Replay is the standby's side.
type Replay struct {
	ReceiverStatus string `json:"receiver_status"` // of pg_stat_wal_receiver, empty when there is none
	SenderHost     string `json:"sender_host"`
	SenderPort     int    `json:"sender_port"`
	SlotName       string `json:"slot_name"`
	// ConfiguredSlot is primary_slot_name, also while nothing is received;
	// empty before 12, where it stands in recovery.conf: Data.PrimarySlotName.
	ConfiguredSlot string        `json:"configured_slot"`
	Receive        *postgres.LSN `json:"receive"`
	Replay         *postgres.LSN `json:"replay"`
	Paused         bool          `json:"paused"` // asked for, or in force
	// PauseState is "not paused", "pause requested" or "paused"; before 14 a
	// request is "paused" too.
	PauseState string `json:"pause_state"`
	// Target is the recovery target that the server was started with, as "name = value";
	// empty without one, and before 12, where it stands in recovery.conf.
	Target string `json:"target"`
	// LastReplayAt is the commit time of the last transaction replayed, nil
	// when none was since the start.
	LastReplayAt *time.Time `json:"last_replay_at"`
	// Seconds since the commit time of the last transaction replayed, nil
	// when none was. On an idle primary it grows without any lag.
	LastReplayAge *float64 `json:"last_replay_age"`
}

// Tablespace outside the data directory.
type Tablespace struct {
	OID      int64  `json:"oid"`
	Name     string `json:"name"`
	Location string `json:"location"`
	// SizeBytes is 0 when it is not known, as of one that was just made.
	SizeBytes int64 `json:"size_bytes"`
}

// Role is a database role. It may not exist.
type Role struct {
	Name        string       `json:"name"`
	Exists      bool         `json:"exists"`
	Login       bool         `json:"login"`
	Replication bool         `json:"replication"`
	Superuser   bool         `json:"superuser"`
	Becomes     bool         `json:"becomes"` // the session that asked may SET ROLE to it
	Verifier    secret.Value `json:"-"`       // pg_authid.rolpassword
	Expired     bool         `json:"expired"`
}

// SetFor is a value that a setting has for the sessions of a role, in a database, or both.
type SetFor struct {
	Role     string `json:"role"`     // empty is every role
	Database string `json:"database"` // empty is every database
	Value    string `json:"value"`
}

// String names those sessions: "role app in database shop".
func (s SetFor) String() string {
	switch {
	case s.Database == "":
		return "role " + s.Role
	case s.Role == "":
		return "database " + s.Database
	}
	return "role " + s.Role + " in database " + s.Database
}

// ConfigError is a fault in a configuration file, found by the server.
type ConfigError struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Name    string `json:"name"` // setting, empty for pg_hba.conf
	Message string `json:"message"`
}

// DataState says what a data directory is.
type DataState string

const (
	Absent  DataState = "absent"
	Empty   DataState = "empty"
	Partial DataState = "partial" // a copy by pgrepctl that did not end: it has our marker
	Cluster DataState = "cluster" // it has a valid pg_control
	Foreign DataState = "foreign" // not empty, and not a data directory
)

// DataDir is the data directory on disk, read without the server's help.
type DataDir struct {
	Path  string    `json:"path"` // symlinks resolved
	State DataState `json:"state"`
	UID   int       `json:"uid"` // owner of the directory itself
	// PID of a live postmaster, 0 when there is none.
	PID     int              `json:"pid"`
	Control postgres.Control `json:"control"` // valid when State is Cluster
	Marker  Marker           `json:"marker"`  // valid when State is Partial
	// Standby is true when standby.signal (recovery.conf before 12) exists.
	Standby bool     `json:"standby"`
	Sample  []string `json:"sample"` // a few names in it, for messages
	// HasData: something is in it besides what is put there before a copy
	// begins (the marker, standby.signal, postgresql.auto.conf).
	HasData bool `json:"has_data"`
	// Version is PG_VERSION: "15", "9.6"; empty when there is no such file.
	Version string `json:"version"`
	// Inode is device:inode, which two paths to one directory share.
	Inode string `json:"inode"`
	// MountPoint: a file system is mounted right on the directory.
	MountPoint bool `json:"mount_point"`
	// HistoryOf is the timeline of the newest history file in the WAL
	// directory, 0 when there is none; History says where those before it
	// ended.
	HistoryOf int             `json:"history_of,omitempty"`
	History   []postgres.Fork `json:"history,omitempty"`
	// Note says why a directory is Foreign when its names do not.
	Note string `json:"note,omitempty"`
	// PrimarySlotName is primary_slot_name in the files of a standby: before 12 in
	// recovery.conf, which SQL does not tell; from 12 on of one whose server does not
	// run, for a running one tells what it is set to (Replay.ConfiguredSlot).
	PrimarySlotName string `json:"primary_slot_name,omitempty"`
	// PrimarySlotUnread is why those files do not tell.
	PrimarySlotUnread string `json:"primary_slot_unread,omitempty"`
}

// Overwrites reports whether what is there is older than any copy of ours, and is being
// overwritten by one.
func (d *DataDir) Overwrites() bool { return d.State == Partial && !d.Marker.WasEmpty }

// ConfigDir is the directory of postgresql.conf and pg_hba.conf, on disk.
type ConfigDir struct {
	HasConfig bool `json:"has_config"` // postgresql.conf
}

// Marker is the file pgrepctl.run in a data directory that is being copied. It
// is written before the first byte and removed when the copy can be started.
type Marker struct {
	Run      string `json:"run"`
	SystemID string `json:"system_id"`
	Source   string `json:"source"`
	// WasEmpty: nothing was in the directory before the first copy into it,
	// so that undoing the copy may empty it.
	WasEmpty bool `json:"was_empty"`
	// Alone: it was this run that found it so, and no other has copied into it since.
	Alone bool `json:"alone,omitempty"`
	// Elsewhere are the directories outside, of tablespaces and WAL, that were
	// found empty before anything came into them: what is in them is the copy's.
	Elsewhere []string `json:"elsewhere,omitempty"`
	// Operator is user@host of whoever started the run, so that another
	// operator can ask.
	Operator string `json:"operator"`
}

// Run is what the copy of a run's journal says of it.
type Run struct {
	ID       string            `json:"id"`
	Cluster  string            `json:"cluster"`
	Plan     string            `json:"plan"`
	Vars     map[string]string `json:"vars"`
	Operator string            `json:"operator"`
	Started  time.Time         `json:"started"`
	Path     string            `json:"path"` // of the copy
	// Meets is the host that has the run's lock; empty for the primary, whoever that is.
	Meets string `json:"meets,omitempty"`
}

// String names the run for a reader: "run 20261122T041002Z-7f3a (bootstrap-standby
// of pg2, by anna@desk, since 2026-11-22 04:10:02Z)".
func (r Run) String() string {
	plan := r.Plan
	if sb := r.Vars["standby"]; sb != "" {
		plan += " of " + sb
	}
	return fmt.Sprintf("run %s (%s, by %s, since %s)", r.ID, plan, r.Operator, r.Started.Format("2006-01-02 15:04:05Z"))
}

// Holds reports whether a run holds the cluster lock of this server: it is going
// on, and was not interrupted.
func (s *Server) Holds(run string) bool {
	return s.Lock != nil && strings.HasPrefix(s.Lock.Application, "pgrepctl "+run+" ")
}
