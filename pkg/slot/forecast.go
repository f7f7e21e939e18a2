package slot

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Forecast is what becomes of a slot if all goes on as it did while it was
// measured. Nil is "not at this rate", or not known.
type Forecast struct {
	// Growth is by how much more WAL the slot keeps each second, in bytes.
	Growth *float64
	// Full is in how many seconds the server finds no room for another WAL file,
	// and stops.
	Full *float64
	// Lost is in how many seconds the slot reaches max_slot_wal_keep_size: at
	// the next checkpoint after that its WAL may go (13+).
	Lost *float64
}

// Rate is how much WAL is written, in bytes a second; nil if two readings do not
// tell.
func Rate(before, after facts.WAL) *float64 {
	seconds := after.At - before.At
	if seconds <= 0 || after.LSN < before.LSN {
		return nil
	}
	rate := float64(after.LSN.Sub(before.LSN)) / seconds
	return &rate
}

// Room is how many bytes of WAL the server can still write when what slots keep
// now stays: the rest of the current file, files that were made ahead, as many whole
// new files as the file system takes (the server makes no part of one), and files
// that nobody needs any more. Those are used again from the next checkpoint on.
func Room(w facts.WAL) int64 {
	now, later := rooms(w)
	return now + later
}

// rooms tells what is there now from what a checkpoint gives.
func rooms(w facts.WAL) (now, later int64) {
	if w.SegmentSize <= 0 {
		return 0, 0
	}
	size, current := w.SegmentSize, int64(w.LSN)/w.SegmentSize
	needed := int64(oldestNeeded(w)) / size
	now = size - int64(w.LSN)%size + max(w.Space.FreeBytes, 0)/size*size
	for _, f := range w.Files {
		now += size * max(f.Last-max(f.First, current+1)+1, 0)
		later += size * max(min(f.Last, needed-1)-f.First+1, 0)
	}
	return now, later
}

// oldestNeeded is where the WAL begins that no checkpoint removes. What is not
// archived yet stays too; a working archiver is not far behind.
func oldestNeeded(w facts.WAL) postgres.LSN {
	oldest := w.LSN
	if w.Redo != nil {
		oldest = min(oldest, *w.Redo)
	}
	if w.Keep > 0 {
		oldest = min(oldest, w.LSN-min(w.LSN, postgres.LSN(w.Keep)))
	}
	for _, s := range w.Slots {
		if s.RestartLSN != nil && *s.RestartLSN != 0 && s.WALStatus != "lost" {
			oldest = min(oldest, *s.RestartLSN)
		}
	}
	return oldest
}

// Kept is how many bytes of WAL a slot keeps, nil of one that keeps none: it was
// never used, or has lost its WAL.
func Kept(w facts.WAL, s facts.Slot) *int64 {
	if s.RestartLSN == nil || *s.RestartLSN == 0 || s.WALStatus == "lost" {
		return nil
	}
	n := max(w.LSN.Sub(*s.RestartLSN), 0)
	return &n
}

// ForecastOf says what becomes of the slot named name.
func ForecastOf(before, after facts.WAL, name string) Forecast {
	was, ok1 := named(before, name)
	now, ok2 := named(after, name)
	if !ok1 || !ok2 {
		return Forecast{}
	}
	f := Forecast{Growth: growthOf(before, after, was, now)}
	if f.Growth == nil || *f.Growth == 0 {
		return f
	}
	growth := *f.Growth
	// When the disk is full before the next checkpoint, that one is of no help.
	room, later := rooms(after)
	if float64(room)/growth > after.CheckpointTimeout {
		room += later
	}
	limited := false
	if after.SlotLimit != nil && now.SafeWALSize != nil {
		safe := max(*now.SafeWALSize, 0)
		lost := float64(safe) / growth
		f.Lost = &lost
		// The limit is enforced at checkpoints, up to max_wal_size later.
		limited = safe+after.MaxWALSize <= room
	}
	if !limited {
		full := float64(room) / growth
		f.Full = &full
	}
	return f
}

// unconfirmed is for how long a logical consumer may have confirmed nothing of what it has,
// in seconds. It speaks every wal_receiver_status_interval, 10 s unless it is set
// (pg_recvlogical --status-interval is the same), and names what it had flushed one before.
const unconfirmed = 20.0

// growthOf is by how much more WAL a slot keeps each second; nil where two readings do not
// tell.
func growthOf(before, after facts.WAL, was, now facts.Slot) *float64 {
	if now.Synced {
		return nil // it moves by leaps, whenever the standby looks at the primary's (17+)
	}
	follows := after.SegmentSize // less than a file is the to and fro of the stream
	if now.Active && now.Type == "logical" {
		was, now = confirmed(was), confirmed(now)
		if rate := Rate(before, after); rate != nil {
			follows = max(follows, int64(*rate*unconfirmed))
		}
	}
	kept, keeps, seconds := Kept(before, was), Kept(after, now), after.At-before.At
	if kept == nil || keeps == nil || seconds <= 0 {
		return nil
	}
	growth := max(float64(*keeps-*kept)/seconds, 0)
	if now.Active && *keeps <= follows {
		growth = 0
	}
	return &growth
}

// confirmed is a logical slot as if it kept WAL from confirmed_flush_lsn on. While it is in
// use its restart_lsn stands still for seconds, however well its consumer follows: it moves
// when running transactions are logged, every 15 s on a server that writes. Before 9.6
// nothing else is known.
func confirmed(s facts.Slot) facts.Slot {
	s.RestartLSN = s.ConfirmedFlushLSN
	return s
}

func named(w facts.WAL, name string) (facts.Slot, bool) {
	return (&facts.Server{Slots: w.Slots}).Slot(name)
}
