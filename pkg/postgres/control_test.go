package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func controlBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "control", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func onOff(b bool) string { return map[bool]string{true: "on", false: "off"}[b] }

// controldata prints c under the labels of pg_controldata.
func controldata(c Control) map[string]string {
	d := func(n any) string { return fmt.Sprint(n) }
	at := func(t time.Time) string { return t.Format(time.ANSIC) }
	return map[string]string{
		"pg_control version number":            d(c.ControlVersion),
		"Catalog version number":               d(c.CatalogVersion),
		"Database system identifier":           d(c.SystemID),
		"Database cluster state":               c.State.String(),
		"pg_control last modified":             at(c.Modified),
		"Latest checkpoint location":           c.CheckpointLSN.String(),
		"Latest checkpoint's REDO location":    c.RedoLSN.String(),
		"Latest checkpoint's TimeLineID":       d(c.Timeline),
		"Latest checkpoint's PrevTimeLineID":   d(c.PreviousTimeline),
		"Latest checkpoint's full_page_writes": onOff(c.FullPageWrites),
		"Time of latest checkpoint":            at(c.CheckpointTime),
		"Minimum recovery ending location":     c.MinRecoveryLSN.String(),
		"Min recovery ending loc's timeline":   d(c.MinRecoveryTimeline),
		"Backup start location":                c.BackupStartLSN.String(),
		"Backup end location":                  c.BackupEndLSN.String(),
		"End-of-backup record required":        map[bool]string{true: "yes", false: "no"}[c.BackupEndRequired],
		"wal_level setting":                    []string{"minimal", "replica", "logical"}[c.WALLevel],
		"wal_log_hints setting":                onOff(c.WALLogHints),
		"max_connections setting":              d(c.MaxConnections),
		"max_worker_processes setting":         d(c.MaxWorkerProcesses),
		"max_wal_senders setting":              d(c.MaxWALSenders),
		"max_prepared_xacts setting":           d(c.MaxPreparedTransactions),
		"max_locks_per_xact setting":           d(c.MaxLocksPerTransaction),
		"track_commit_timestamp setting":       onOff(c.TrackCommitTimestamp),
		"Maximum data alignment":               d(c.MaxAlign),
		"Database block size":                  d(c.BlockSize),
		"Blocks per segment of large relation": d(c.RelationSegment),
		"WAL block size":                       d(c.WALBlockSize),
		"Bytes per WAL segment":                d(c.WALSegmentSize),
		"Maximum length of identifiers":        d(c.NameDataLen),
		"Maximum columns in an index":          d(c.IndexMaxKeys),
		"Maximum size of a TOAST chunk":        d(c.ToastMaxChunk),
		"Size of a large-object chunk":         d(c.LargeObjectChunk),
		"Float8 argument passing":              map[bool]string{true: "by value", false: "by reference"}[c.Float8ByValue],
		"Data page checksum version":           d(c.DataChecksumVersion),
	}
}

func TestControlFileReadsAsPgControldataPrintsIt(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"15-running", "15-stopped"} {
		c, err := ParseControl(controlBytes(t, name+".control"))
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]string)
		for _, l := range strings.Split(string(controlBytes(t, name+".txt")), "\n") {
			label, value, _ := strings.Cut(l, ":")
			want[label] = strings.TrimSpace(value)
		}
		for label, got := range controldata(c) {
			if want[label] != got {
				t.Errorf("%s: %s = %q, pg_controldata says %q", name, label, got, want[label])
			}
		}
		file, err := SegmentName(c.Timeline, c.RedoLSN, uint64(c.WALSegmentSize))
		if err != nil || file != want["Latest checkpoint's REDO WAL file"] {
			t.Errorf("%s: redo file %s, %v", name, file, err)
		}
	}
}

// The .sql files are what pg_control_system() and its kin said of the .control
// file beside them.
func TestControlFileOfEachVersionReadsAsTheServerSays(t *testing.T) {
	t.Parallel()
	for _, major := range []string{"10", "11", "12", "13", "14", "16", "17", "18"} {
		c, err := ParseControl(controlBytes(t, major+".control"))
		if err != nil {
			t.Errorf("%s: %v", major, err)
			continue
		}
		d := func(n any) string { return fmt.Sprint(n) }
		tf := func(b bool) string { return d(b)[:1] }
		at := func(t time.Time) string { return t.Format("2006-01-02 15:04:05+00") }
		got := map[string]string{
			"pg_control_version": d(c.ControlVersion), "catalog_version_no": d(c.CatalogVersion),
			"system_identifier": d(c.SystemID), "pg_control_last_modified": at(c.Modified),
			"checkpoint_lsn": c.CheckpointLSN.String(), "redo_lsn": c.RedoLSN.String(),
			"timeline_id": d(c.Timeline), "prev_timeline_id": d(c.PreviousTimeline),
			"full_page_writes": tf(c.FullPageWrites), "checkpoint_time": at(c.CheckpointTime),
			"min_recovery_end_lsn": c.MinRecoveryLSN.String(), "min_recovery_end_timeline": d(c.MinRecoveryTimeline),
			"backup_start_lsn": c.BackupStartLSN.String(), "backup_end_lsn": c.BackupEndLSN.String(),
			"end_of_backup_record_required": tf(c.BackupEndRequired),
			"max_data_alignment":            d(c.MaxAlign), "database_block_size": d(c.BlockSize),
			"blocks_per_segment": d(c.RelationSegment), "wal_block_size": d(c.WALBlockSize),
			"bytes_per_wal_segment": d(c.WALSegmentSize), "max_identifier_length": d(c.NameDataLen),
			"max_index_columns": d(c.IndexMaxKeys), "max_toast_chunk_size": d(c.ToastMaxChunk),
			"large_object_chunk_size": d(c.LargeObjectChunk), "float8_pass_by_value": tf(c.Float8ByValue),
			"data_page_checksum_version": d(c.DataChecksumVersion),
		}
		if major == "18" {
			got["default_char_signedness"] = tf(c.SignedChar)
		}
		for _, l := range lines(t, "control/"+major+".sql") {
			name, want, _ := strings.Cut(l, " = ")
			if value, ok := got[name]; ok && value != want {
				t.Errorf("%s: %s = %s, the server says %s", major, name, value, want)
			}
			delete(got, name)
		}
		if len(got) != 0 {
			t.Errorf("%s: not compared: %v", major, got)
		}
		if c.State != InProduction {
			t.Errorf("%s: state %s", major, c.State)
		}
	}
}

// Offsets that a C compiler gives (offsetof, x86-64) for the structures of 9.4,
// 9.5 and 9.6.
func TestControlFileBefore10FollowsTheCLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, catalog                             uint32
		legacy                                       bool
		minRecovery, maxConn, align, segment, f8, at int
	}{
		{control94, catalog94, true, 128, 172, 188, 212, 234, 240},
		{control94, 201510051, false, 136, 180, 200, 228, 250, 256},
		{control96, 201608131, false, 136, 180, 200, 228, 250, 256},
	} {
		b := make([]byte, 8192)
		put := binary.LittleEndian.PutUint32
		binary.LittleEndian.PutUint64(b, 0x1122334455667788)
		put(b[8:], c.version)
		put(b[12:], c.catalog)
		put(b[16:], uint32(InArchiveRecovery))
		binary.LittleEndian.PutUint64(b[c.minRecovery:], 0x5000060)
		put(b[c.maxConn:], 117)
		put(b[c.align:], 8)
		binary.LittleEndian.PutUint64(b[(c.align+4+7)/8*8:], math.Float64bits(floatFormat))
		put(b[c.segment-12:], 8192)
		put(b[c.segment:], 16<<20)
		b[c.f8] = 1
		put(b[c.f8+1:], 0)
		put(b[(c.f8+4)/4*4:], 1)
		sum := crc32.Checksum(b[:c.at], crc32.MakeTable(crc32.Castagnoli))
		if c.legacy {
			sum = legacySum(b[:c.at])
		}
		put(b[c.at:], sum)
		got, err := ParseControl(b)
		if err != nil {
			t.Errorf("version %d, catalog %d: %v", c.version, c.catalog, err)
			continue
		}
		if got.State != InArchiveRecovery || got.MinRecoveryLSN != 0x5000060 || got.MaxConnections != 117 ||
			got.MaxAlign != 8 || got.BlockSize != 8192 || got.WALSegmentSize != 16<<20 ||
			!got.Float8ByValue || got.DataChecksumVersion != 1 {
			t.Errorf("version %d, catalog %d: %+v", c.version, c.catalog, got)
		}
	}
}

// legacySum is COMP_CRC32 of 9.4, bit by bit: the state is shifted to the left
// while each table entry is that of the reflected polynomial.
func legacySum(b []byte) uint32 {
	entry := func(i byte) uint32 {
		x := uint32(i)
		for range 8 {
			low := x & 1
			if x >>= 1; low != 0 {
				x ^= 0xEDB88320
			}
		}
		return x
	}
	sum := uint32(0xFFFFFFFF)
	for _, x := range b {
		sum = entry(byte(sum>>24)^x) ^ sum<<8
	}
	return sum ^ 0xFFFFFFFF
}

// Up to 12 a flag for float4 stands before the one for float8; on common hosts
// both are set.
func TestFloat8FlagIsNotThatOfFloat4(t *testing.T) {
	t.Parallel()
	b := controlBytes(t, "12.control")
	const end, float8 = 288, 288 - 32 - 4 - 4 + 1
	b[float8] = 0
	binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
	if c, err := ParseControl(b); err != nil || c.Float8ByValue {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestControlFileOf93IsNamedByItsVersion(t *testing.T) {
	t.Parallel()
	b := make([]byte, 8192)
	binary.LittleEndian.PutUint64(b, 42)
	binary.LittleEndian.PutUint32(b[8:], 937)
	binary.LittleEndian.PutUint32(b[220:], legacySum(b[:220]))
	if c, err := ParseControl(b); !errors.Is(err, ErrControlVersion) || c.SystemID != 42 || c.ControlVersion != 937 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTornControlFileIsToldFromWhole(t *testing.T) {
	t.Parallel()
	a, b := controlBytes(t, "15-running.control"), controlBytes(t, "15-stopped.control")
	torn := append(slices.Clone(a[:64]), b[64:]...)
	if _, err := ParseControl(torn); !errors.Is(err, ErrControlCRC) {
		t.Errorf("two halves: %v", err)
	}
	for n := range 292 {
		damaged := slices.Clone(a)
		damaged[n] ^= 0x10
		if c, err := ParseControl(damaged); !errors.Is(err, ErrControlCRC) || c != (Control{}) {
			t.Errorf("byte %d: %+v, %v", n, c, err)
		}
	}
	for _, n := range []int{0, 8, 100, 291} {
		if _, err := ParseControl(a[:n]); !errors.Is(err, ErrControlCRC) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if _, err := ParseControl(make([]byte, 8192)); !errors.Is(err, ErrControlCRC) {
		t.Errorf("zeros: %v", err)
	}
}

func TestControlFileOfAnUnknownLayoutStillNamesItsCluster(t *testing.T) {
	t.Parallel()
	known, err := ParseControl(controlBytes(t, "18.control"))
	if err != nil {
		t.Fatal(err)
	}
	reseal := func(b []byte, n int) []byte {
		binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	newer := controlBytes(t, "18.control")
	binary.LittleEndian.PutUint32(newer[8:], 1902)
	moved := controlBytes(t, "18.control")
	for name, b := range map[string][]byte{"newer version": reseal(newer, 320), "checksum elsewhere": reseal(moved, 400)} {
		if name == "checksum elsewhere" {
			moved[20] ^= 1
			reseal(moved, 400)
		}
		c, err := ParseControl(b)
		if !errors.Is(err, ErrControlVersion) || c.SystemID != known.SystemID || c.BlockSize != 0 {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

func TestWithoutCheckpointChangesNothingElse(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"10.control", "12.control", "15-running.control", "18.control"} {
		b := controlBytes(t, name)
		want, err := ParseControl(b)
		if err != nil {
			t.Fatal(err)
		}
		out, err := WithoutCheckpoint(b)
		if err != nil || len(out) != len(b) {
			t.Fatalf("%s: %d bytes, %v", name, len(out), err)
		}
		got, err := ParseControl(out)
		want.CheckpointLSN = 0xDEAD
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
	if _, err := WithoutCheckpoint(make([]byte, 8192)); !errors.Is(err, ErrControlCRC) {
		t.Errorf("zeros: %v", err)
	}
}

func TestControlFilesOfOneClusterAgree(t *testing.T) {
	t.Parallel()
	a, err := ParseControl(controlBytes(t, "15-running.control"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ParseControl(controlBytes(t, "15-stopped.control"))
	if err != nil {
		t.Fatal(err)
	}
	if a.SystemID != b.SystemID {
		t.Errorf("one cluster has systems %d and %d", a.SystemID, b.SystemID)
	}
	if a.State.Clean() || !b.State.Clean() {
		t.Errorf("states %s and %s", a.State, b.State)
	}
}

func TestClusterStatesOutOfRangeHaveAName(t *testing.T) {
	t.Parallel()
	if s := ClusterState(99).String(); s != "unrecognized status code" {
		t.Error(s)
	}
	if got := StartingUp.String() + strconv.Itoa(int(InProduction)); got != "starting up6" {
		t.Error(got)
	}
}

func FuzzParseControl(f *testing.F) {
	for _, name := range []string{"10.control", "12.control", "15-running.control", "18.control"} {
		f.Add(controlBytes(f, name)[:512])
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseControl(b)
		if err != nil && !errors.Is(err, ErrControlCRC) && !errors.Is(err, ErrControlVersion) {
			t.Errorf("untyped error: %v", err)
		}
		_ = c.State.String()
		// Resealed, the same bytes get past the checksum.
		if len(b) >= 512 {
			for _, n := range []int{260, 284, 288, 292} {
				r := slices.Clone(b)
				binary.LittleEndian.PutUint32(r[n:], crc32.Checksum(r[:n], crc32.MakeTable(crc32.Castagnoli)))
				if _, err := ParseControl(r); errors.Is(err, ErrControlCRC) {
					t.Error("a right checksum was not found")
				}
			}
		}
	})
}
