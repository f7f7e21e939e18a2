package facts

import "github.com/pgrepctl/pgrepctl/pkg/postgres"

// WAL is where a server's WAL ends at one moment, and what of it is on disk.
type WAL struct {
	// At is the server's clock, in seconds since 1970, in the statement that
	// read LSN: two readings give a rate.
	At float64 `json:"at"`
	// LSN is what was inserted on a primary (what is written follows by leaps),
	// and what was received, or replayed from an archive, on a standby.
	LSN postgres.LSN `json:"lsn"`
	// Redo is where recovery would begin: the server itself needs the WAL from
	// there on. Nil before 9.6.
	Redo        *postgres.LSN `json:"redo"`
	SegmentSize int64         `json:"segment_size"` // bytes of a WAL file
	Files       []WALFiles    `json:"files"`
	Slots       []Slot        `json:"slots"`
	// SlotLimit is max_slot_wal_keep_size in bytes, nil where slots are not
	// limited: -1, or before 13.
	SlotLimit *int64 `json:"slot_limit"`
	// Keep is wal_keep_size (13+) or wal_keep_segments, in bytes.
	Keep int64 `json:"keep"`
	// MaxWALSize is max_wal_size in bytes (13+, else 0): so much may be written
	// before a checkpoint enforces SlotLimit.
	MaxWALSize int64 `json:"max_wal_size"`
	// CheckpointTimeout is checkpoint_timeout in seconds: that long files that
	// nobody needs may stay.
	CheckpointTimeout float64 `json:"checkpoint_timeout"`
	ArchiveMode       string  `json:"archive_mode"`
	// Space is the file system of the WAL directory.
	Space Space `json:"space"`
}

// WALFiles are WAL files of one timeline without a gap. They are counted from the
// beginning of the WAL: file n holds the bytes from n * SegmentSize on.
type WALFiles struct {
	Timeline int64 `json:"timeline"`
	First    int64 `json:"first"`
	Last     int64 `json:"last"`
}
