package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

var (
	// ErrControlCRC is a control file that is torn or damaged. The server
	// rewrites it in place, so a reader of a running server can meet half of
	// an update: read again, a few times.
	ErrControlCRC = errors.New("checksum does not match: torn or damaged control file")
	// ErrControlVersion is a whole control file of a layout that is not
	// known here: another version, byte order or alignment. Control then
	// holds SystemID, ControlVersion and CatalogVersion, which never move.
	ErrControlVersion = errors.New("unknown control file layout")
)

// ClusterState is DBState of pg_control.
type ClusterState uint32

const (
	StartingUp ClusterState = iota
	ShutDown
	ShutDownInRecovery
	ShuttingDown
	InCrashRecovery
	InArchiveRecovery
	InProduction
)

// String is the name that pg_controldata prints.
func (s ClusterState) String() string {
	switch s {
	case StartingUp:
		return "starting up"
	case ShutDown:
		return "shut down"
	case ShutDownInRecovery:
		return "shut down in recovery"
	case ShuttingDown:
		return "shutting down"
	case InCrashRecovery:
		return "in crash recovery"
	case InArchiveRecovery:
		return "in archive recovery"
	case InProduction:
		return "in production"
	}
	return "unrecognized status code"
}

// Clean reports that the server was stopped in order, so that its files may be
// read, or replaced by newer ones, without recovery.
func (s ClusterState) Clean() bool { return s == ShutDown || s == ShutDownInRecovery }

// Control is global/pg_control: who a data directory is and where its recovery
// begins.
type Control struct {
	SystemID       uint64
	ControlVersion uint32
	CatalogVersion uint32
	State          ClusterState
	Modified       time.Time

	CheckpointLSN    LSN
	RedoLSN          LSN
	Timeline         uint32
	PreviousTimeline uint32
	FullPageWrites   bool
	CheckpointTime   time.Time

	// MinRecoveryLSN is how far a standby must replay before it is
	// consistent; the end of a backup taken from a standby.
	MinRecoveryLSN      LSN
	MinRecoveryTimeline uint32
	BackupStartLSN      LSN
	BackupEndLSN        LSN
	BackupEndRequired   bool

	// WALLevel is the raw number; its meaning changed in 9.6.
	WALLevel                int32
	WALLogHints             bool
	MaxConnections          int32
	MaxWorkerProcesses      int32
	MaxWALSenders           int32 // 0 before 12
	MaxPreparedTransactions int32
	MaxLocksPerTransaction  int32
	TrackCommitTimestamp    bool

	MaxAlign            uint32
	BlockSize           uint32
	RelationSegment     uint32 // blocks in one file of a relation
	WALBlockSize        uint32
	WALSegmentSize      uint32 // bytes
	NameDataLen         uint32
	IndexMaxKeys        uint32
	ToastMaxChunk       uint32
	LargeObjectChunk    uint32
	Float8ByValue       bool
	DataChecksumVersion uint32 // 0: no data checksums
	SignedChar          bool   // 18 and later
}

// Values of pg_control_version where the layout changed.
const (
	control94 = 942 // 9.4 and 9.5, told apart by the catalog version
	control96 = 960
	control10 = 1002
	control11 = 1100
	control12 = 1201
	control13 = 1300 // to 16
	control17 = 1700
	control18 = 1800

	// catalog94 is the catalog version of all 9.4 releases.
	catalog94 = 201409291

	floatFormat = 1234567.0
	headerLen   = 16
	// maxControl is PG_CONTROL_MAX_SAFE_SIZE: one disk sector.
	maxControl = 512
)

// ParseControl reads the bytes of global/pg_control of 9.4 to 18, on 64-bit
// little-endian hosts. Layouts: src/include/catalog/pg_control.h of each
// version.
func ParseControl(b []byte) (Control, error) {
	if len(b) < headerLen {
		return Control{}, fmt.Errorf("parse control file: %d bytes: %w", len(b), ErrControlCRC)
	}
	r := &cstruct{b: b[:min(len(b), maxControl)]}
	c := Control{SystemID: r.u64(), ControlVersion: r.u32(), CatalogVersion: r.u32()}
	if known(c.ControlVersion) {
		full := c
		end := full.read(r)
		if checksumAt(b, end, c.is94()) {
			return full, full.check()
		}
	}
	// A sound file of another layout has its checksum elsewhere; a damaged
	// one has it nowhere.
	if sealed(b[:min(len(b), maxControl)]) {
		return c, fmt.Errorf("parse control file: version %d: %w", c.ControlVersion, ErrControlVersion)
	}
	return Control{}, fmt.Errorf("parse control file: %w", ErrControlCRC)
}

func known(version uint32) bool {
	switch version {
	case control94, control96, control10, control11, control12, control13, control17, control18:
		return true
	}
	return false
}

// check refuses what a matching checksum cannot exclude: a file written by a
// program with another idea of the structure.
func (c Control) check() error {
	if c.State > InProduction || c.BlockSize == 0 || c.WALSegmentSize == 0 {
		return fmt.Errorf("parse control file: values out of range: %w", ErrControlVersion)
	}
	return nil
}

func (c Control) is94() bool { return c.ControlVersion == control94 && c.CatalogVersion <= catalog94 }

// read fills c from r, which stands behind the version numbers, and returns the
// offset of the checksum.
func (c *Control) read(r *cstruct) int {
	v := c.ControlVersion
	c.State = ClusterState(r.u32())
	c.Modified = r.time()
	c.CheckpointLSN = r.lsn()
	if v < control11 {
		r.lsn() // prevCheckPoint
	}
	c.readCheckpoint(r)
	r.lsn() // unloggedLSN
	c.MinRecoveryLSN = r.lsn()
	c.MinRecoveryTimeline = r.u32()
	c.BackupStartLSN = r.lsn()
	c.BackupEndLSN = r.lsn()
	c.BackupEndRequired = r.bool()
	c.WALLevel = r.i32()
	c.WALLogHints = r.bool()
	c.MaxConnections = r.i32()
	c.MaxWorkerProcesses = r.i32()
	if v >= control12 {
		c.MaxWALSenders = r.i32()
	}
	c.MaxPreparedTransactions = r.i32()
	c.MaxLocksPerTransaction = r.i32()
	if !c.is94() {
		c.TrackCommitTimestamp = r.bool()
	}
	c.MaxAlign = r.u32()
	if math.Float64frombits(r.u64()) != floatFormat {
		return -1 // another alignment or byte order
	}
	for _, f := range []*uint32{
		&c.BlockSize, &c.RelationSegment, &c.WALBlockSize, &c.WALSegmentSize,
		&c.NameDataLen, &c.IndexMaxKeys, &c.ToastMaxChunk, &c.LargeObjectChunk,
	} {
		*f = r.u32()
	}
	if v < control10 {
		r.bool() // enableIntTimes
	}
	if v < control13 {
		r.bool() // float4ByVal
	}
	c.Float8ByValue = r.bool()
	c.DataChecksumVersion = r.u32()
	if v >= control18 {
		c.SignedChar = r.bool()
	}
	if v >= control10 {
		r.skip(32) // mock_authentication_nonce
	}
	r.align(4)
	return r.at
}

func (c *Control) readCheckpoint(r *cstruct) {
	c.RedoLSN = r.lsn()
	c.Timeline = r.u32()
	c.PreviousTimeline = r.u32()
	c.FullPageWrites = r.bool()
	r.u32() // nextXidEpoch to 11, padding to 16, wal_level since 17
	if c.ControlVersion >= control12 {
		r.u64() // nextXid
	} else {
		r.u32()
	}
	r.skip(4 * 7) // nextOid to oldestMultiDB
	c.CheckpointTime = r.time()
	if !c.is94() {
		r.skip(4 * 2) // oldestCommitTsXid, newestCommitTsXid
	}
	r.u32() // oldestActiveXid
	r.align(8)
}

// checksumAt reports whether the four bytes at n are the checksum of those
// before.
func checksumAt(b []byte, n int, legacy bool) bool {
	if n < headerLen || n+4 > len(b) {
		return false
	}
	sum := crc32c(0, b[:n])
	if legacy {
		sum = ^crc94(^uint32(0), b[:n])
	}
	return binary.LittleEndian.Uint32(b[n:]) == sum
}

// sealed reports whether any four aligned bytes are the checksum of those
// before.
func sealed(b []byte) bool {
	sum, old := crc32c(0, b[:headerLen]), crc94(^uint32(0), b[:headerLen])
	for n := headerLen; n+4 <= len(b); n += 4 {
		if found := binary.LittleEndian.Uint32(b[n:]); found == sum || found == ^old {
			return true
		}
		sum, old = crc32c(sum, b[n:n+4]), crc94(old, b[n:n+4])
	}
	return false
}

func crc32c(sum uint32, b []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b)
}

// crc94 is the checksum of 9.4 before its last inversion: the table of the
// common CRC-32, shifted the other way.
func crc94(state uint32, b []byte) uint32 {
	for _, x := range b {
		state = crc32.IEEETable[byte(state>>24)^x] ^ state<<8
	}
	return state
}

// WithoutCheckpoint returns the control file with the pointer to its latest
// checkpoint made invalid. A server starts on it only beside a backup_label,
// which names the checkpoint to begin from; without one it refuses, where it would
// otherwise recover from the wrong place and lose rows without an error. pgBackRest
// restores backups of all versions with the same value.
func WithoutCheckpoint(b []byte) ([]byte, error) {
	c, err := ParseControl(b)
	if err != nil {
		return nil, fmt.Errorf("invalidate checkpoint: %w", err)
	}
	const checkpoint = 32 // offset of checkPoint in every known layout
	out := bytes.Clone(b)
	binary.LittleEndian.PutUint64(out[checkpoint:], 0xDEAD)
	end := c.read(&cstruct{b: b, at: headerLen})
	sum := crc32c(0, out[:end])
	if c.is94() {
		sum = ^crc94(^uint32(0), out[:end])
	}
	binary.LittleEndian.PutUint32(out[end:], sum)
	return out, nil
}

// cstruct reads a C structure field by field with the alignment of 64-bit
// Linux. Behind the end it reads zeros; the checksum then fails.
type cstruct struct {
	b  []byte
	at int
}

func (r *cstruct) align(n int) { r.at = (r.at + n - 1) / n * n }
func (r *cstruct) skip(n int)  { r.at += n }

func (r *cstruct) next(n int) []byte {
	r.align(n)
	start := min(r.at, len(r.b))
	r.at += n
	if len(r.b)-start < n {
		return bytes.Repeat([]byte{0}, n)
	}
	return r.b[start : start+n]
}

func (r *cstruct) bool() bool      { return r.next(1)[0] != 0 }
func (r *cstruct) u32() uint32     { return binary.LittleEndian.Uint32(r.next(4)) }
func (r *cstruct) i32() int32      { return int32(r.u32()) }
func (r *cstruct) u64() uint64     { return binary.LittleEndian.Uint64(r.next(8)) }
func (r *cstruct) lsn() LSN        { return LSN(r.u64()) }
func (r *cstruct) time() time.Time { return time.Unix(int64(r.u64()), 0).UTC() }
