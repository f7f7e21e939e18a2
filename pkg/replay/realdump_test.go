package replay

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

const (
	realDump    = "/usr/lib/postgresql/15/bin/pg_waldump"
	pageMagic   = 0xD110 // XLOG_PAGE_MAGIC of 15
	pageSize    = 8192
	segmentSize = 1 << 20
)

// walWriter writes WAL as a server of 15 does, as far as pg_waldump looks at it. A
// record stays on the first page of its file.
type walWriter struct {
	t        *testing.T
	dir      string
	timeline uint32
	at, prev postgres.LSN
	file     []byte
}

// begin begins a file.
func (w *walWriter) begin(at postgres.LSN) {
	w.file, w.at = make([]byte, segmentSize), at+40
	le := binary.LittleEndian
	le.PutUint16(w.file, pageMagic)
	le.PutUint16(w.file[2:], 2) // XLP_LONG_HEADER
	le.PutUint32(w.file[4:], w.timeline)
	le.PutUint64(w.file[8:], uint64(at))
	le.PutUint32(w.file[32:], segmentSize)
	le.PutUint32(w.file[36:], pageSize)
}

// record appends one, and returns where it begins.
func (w *walWriter) record(rmgr, info byte, xid uint32, data []byte) postgres.LSN {
	w.t.Helper()
	le, table, at := binary.LittleEndian, crc32.MakeTable(crc32.Castagnoli), w.at
	b := make([]byte, 24)
	if len(data) > 0 {
		b = append(append(b, 255, byte(len(data))), data...)
	}
	le.PutUint32(b, uint32(len(b)))
	le.PutUint32(b[4:], xid)
	le.PutUint64(b[8:], uint64(w.prev))
	b[16], b[17] = info, rmgr
	le.PutUint32(b[20:], crc32.Update(crc32.Checksum(b[24:], table), table, b[:20]))
	if copy(w.file[at%segmentSize:pageSize], b) < len(b) {
		w.t.Fatal("the page is full")
	}
	w.prev, w.at = at, (at+postgres.LSN(len(b))+7)&^7
	name, err := postgres.SegmentName(w.timeline, at, segmentSize)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, name), w.file, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return at
}

func (w *walWriter) noop() postgres.LSN { return w.record(0, 0x20, 0, make([]byte, 4)) }

// change ends the file, as pg_switch_wal does, and begins the next.
func (w *walWriter) change() {
	w.record(0, 0x40, 0, nil)
	w.begin((w.at/segmentSize + 1) * segmentSize)
}

func (w *walWriter) lock(xid, relation uint32) postgres.LSN {
	var b []byte
	for _, n := range []uint32{1, xid, 16384, relation} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return w.record(8, 0, xid, b)
}

func (w *walWriter) commit(xid uint32, at time.Time) postgres.LSN {
	since := at.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Microseconds()
	return w.record(1, 0, xid, binary.LittleEndian.AppendUint64(nil, uint64(since)))
}

func (w *walWriter) restorePoint(name string) postgres.LSN {
	b := make([]byte, 72)
	copy(b[8:], name)
	return w.record(0, 0x70, 0, b)
}

// TestTheRealProgramReadsAlongTimelines: what it ends with where WAL ends, where it was
// told to and where there is none is what this package makes of it.
func TestTheRealProgramReadsAlongTimelines(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(realDump); err != nil {
		t.Skip("PostgreSQL 15 is not installed")
	}
	s := newSite(t)
	s.program = realDump
	w := &walWriter{t: t, dir: s.dir, timeline: 1}
	w.begin(0x3000000)
	w.noop()
	w.commit(739, accident.Time.Add(-time.Hour))
	w.change()
	fork := w.noop() + 32
	w.timeline++ // in a copy of the file, as a promotion does
	w.commit(740, accident.Time.Add(-time.Minute))
	lock := w.lock(741, 16390)
	w.commit(742, accident.Time.Add(-time.Second))
	point := w.restorePoint("it's before")
	gone := w.commit(741, accident.Time)
	end := w.at
	s.put(t, "00000002.history", "1\t"+fork.String()+"\tno recovery target specified\n")

	for _, to := range []postgres.LSN{0, end} {
		got, err := FindStop(t.Context(), &s.run, s.source(2, to), accident, 0)
		if err != nil || got.At != gone || len(got.Locks) != 1 || got.Locks[0].At != lock || got.Commits != 1 {
			t.Errorf("up to %s: %+v, %v", to, got, err)
		}
		if at, err := RestorePoint(t.Context(), &s.run, s.source(2, to), "it's before"); err != nil || at != point {
			t.Errorf("up to %s: %s, %v", to, at, err)
		}
	}
	late := Target{Kind: Time, Time: accident.Time.Add(time.Hour)}
	for to, want := range map[postgres.LSN]error{0: nil, end: nil, end + 512: ErrUnread, end + segmentSize: ErrUnread} {
		if got, err := FindStop(t.Context(), &s.run, s.source(2, to), late, 0); got.At != 0 || !errors.Is(err, want) {
			t.Errorf("up to %s: %+v, %v", to, got, err)
		}
	}
	for at, want := range map[postgres.LSN]bool{end: true, end + 8: false} {
		got, err := FindStop(t.Context(), &s.run, s.source(2, 0), Target{Kind: LSN, LSN: at}, 0)
		if err != nil || got.End != end || got.Seen(s.source(2, 0)) != want {
			t.Errorf("at %s of what ends at %s: %+v, %v", at, end, got, err)
		}
	}
	s.gone(t, "00000001*30")
	if got, err := FindStop(t.Context(), &s.run, s.source(2, end), late, 0); !errors.Is(err, ErrUnread) {
		t.Errorf("without its first file: %+v, %v", got, err)
	}
}
