package live

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestWALTellsWhereItEndsAndWhatIsOnDisk(t *testing.T) {
	t.Parallel()
	p := newServer(t)
	v, err := postgres.ParseVersion(p.major)
	if err != nil {
		t.Fatal(err)
	}
	keep, err := v.KeepWAL(32<<20, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	p.set(v.KeepWALSetting(), keep)
	limit := v.SlotLimitSetting()
	if limit != "" {
		p.set(limit, "1GB")
	}
	p.start()
	s := p.standby("pg2")
	s.start()
	g, _ := p.gatherer()
	g.exec(t, "select pg_create_physical_replication_slot('old', true)")
	before, err := g.WAL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	g.exec(t, "select pg_logical_emit_message(true, 'fill', repeat('x', 5000000))", "select pg_switch_wal()",
		"select pg_logical_emit_message(true, 'fill', repeat('x', 5000000))")
	after, err := g.WAL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if after.At <= before.At || after.LSN.Sub(before.LSN) < 10_000_000 {
		t.Errorf("from %v at %v to %v at %v", before.LSN, before.At, after.LSN, after.At)
	}
	if after.SegmentSize != 16<<20 || after.Keep != 32<<20 || after.ArchiveMode != "off" || after.CheckpointTimeout != 300 {
		t.Errorf("settings: %+v", after)
	}
	if limited := after.SlotLimit != nil && *after.SlotLimit == 1<<30 && after.MaxWALSize == 1<<30; limited != (limit != "") {
		t.Errorf("limit: %+v", after)
	}
	if after.Redo == nil || *after.Redo == 0 || *after.Redo > after.LSN {
		t.Errorf("redo: %v, end %v", after.Redo, after.LSN)
	}
	names, err := filepath.Glob(filepath.Join(p.data, "pg_wal", "0000000100000000000000*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Files) != 1 || after.Files[0].Timeline != 1 || after.Files[0].Last-after.Files[0].First+1 != int64(len(names)) {
		t.Errorf("files: %+v, of %q", after.Files, names)
	}
	last, err := postgres.SegmentName(1, postgres.LSN(after.Files[0].Last*after.SegmentSize), uint64(after.SegmentSize))
	if err != nil || filepath.Base(names[len(names)-1]) != last {
		t.Errorf("last file is %s (%v), of %q", last, err, names)
	}
	if len(after.Slots) != 2 || after.Slots[0].Name != "old" || after.Slots[0].RetainedBytes == nil || *after.Slots[0].RetainedBytes < 10_000_000 || (after.Slots[0].SafeWALSize == nil) != (limit == "") {
		t.Errorf("slots: %+v", after.Slots)
	}
	if info, err := os.Stat(filepath.Join(p.data, "pg_wal")); err != nil || !info.IsDir() || after.Space.FreeBytes <= 0 || after.Space.TotalBytes < after.Space.FreeBytes {
		t.Errorf("space: %+v (%v)", after.Space, err)
	}
	sg, _ := s.gatherer()
	sb, err := sg.WAL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if sb.LSN == 0 || sb.SegmentSize != after.SegmentSize || len(sb.Files) == 0 {
		t.Errorf("standby: %+v", sb)
	}
}
