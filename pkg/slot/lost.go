package slot

// IdleTimeout is the invalidation_reason of a slot that nobody used for
// idle_replication_slot_timeout (18+). It alone says nothing of the WAL: what the slot kept
// is free to go from then on, and may still be there.
const IdleTimeout = "idle_timeout"

// Loss says what became of a slot whose wal_status is lost (13+), by its
// invalidation_reason, which is empty before 17.
func Loss(reason string) string {
	switch reason {
	case "":
		return "has lost WAL that it needs"
	case "wal_removed":
		return "has lost WAL that it needs (wal_removed)"
	case IdleTimeout:
		return "was invalidated, for nobody used it for idle_replication_slot_timeout (idle_timeout)"
	case "rows_removed":
		return "was invalidated, for rows that it needs are gone (rows_removed)"
	case "wal_level_insufficient":
		return "was invalidated, for wal_level of the primary does not suffice (wal_level_insufficient)"
	}
	return "was invalidated (" + reason + ")" // a later version has others
}
