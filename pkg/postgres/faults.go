package postgres

// Versions are written as MakeVersion's numbers are: 150016 is 15.16, 90405 is
// 9.4.5.

// faults is the table of releases with known problems, oldest first.
func faults() []fault {
	return append(append(faultsBefore10(), faultsSince10()...), faultsSince15()...)
}

func faultsBefore10() []fault {
	return []fault{
		{
			id: "replay-zeroes-buffers", severity: Block,
			problem:  "replay transiently zeroes shared buffers: queries on a standby see garbage",
			branches: []branch{bad(90103)}, source: "release notes 9.1.3",
		},
		{
			id: "replay-not-persisted", severity: Block,
			problem:  "buffers dirtied by replay are not written: corruption after a crash",
			branches: []branch{bad(90106), bad(90201)}, source: "release notes 9.2.1",
		},
		{
			id: "standby-opens-early", severity: Block,
			problem:  "the end of a backup is misjudged: a standby opens before it is consistent",
			branches: []branch{bad(90202)}, source: "release notes 9.2.2",
		},
		{
			id: "clog-at-standby-start", severity: Block,
			problem: "pg_clog and pg_subtrans are initialized wrongly at standby start: committed rows are lost on the standby",
			action:  "rebuild the standbys", branches: []branch{bad(90111), bad(90206), bad(90302)},
			source: "release notes 9.3.2",
		},
		{
			id: "replay-wrong-page", severity: Block,
			problem:  "replay may change the wrong page, and consistency is reached too early",
			branches: []branch{bad(90112), bad(90207), bad(90303)}, source: "release notes 9.3.3",
		},
		{
			id: "locked-tuple-replay", severity: Block,
			problem: "replay of a lock on an updated row: index scans on a standby miss rows",
			action:  "rebuild the standbys", branches: []branch{bad(90304)}, source: "release notes 9.3.4",
		},
		{
			id: "multixact-truncation", severity: Warn,
			problem:  "multixact truncation with a wrong oldest multixact after pg_upgrade: a standby may fail to start",
			branches: []branch{bad(90309), bad(90404)}, source: "release notes 9.3.9, 9.4.4",
		},
		{
			id: "multixact-wraparound", severity: Block,
			problem:  "multixact members wrap around: data loss",
			branches: []branch{bad(90307), bad(90402)}, source: "release notes 9.4.2",
		},
		{
			id: "fsync-foreign-files", severity: Warn,
			problem:  "a restart after a crash fails on an unreadable or foreign file in the data directory",
			branches: []branch{bad(90308).since(7), bad(90403).since(2)}, source: "release notes 9.4.3",
		},
		{
			id: "copied-trigger-file", severity: Warn,
			problem:  "a trigger file that was copied with the backup promotes the new standby",
			branches: []branch{bad(90310), bad(90405)}, source: "release notes 9.4.5",
		},
		{
			id: "abbreviated-keys", severity: Block,
			problem: "text indexes built with abbreviated keys are corrupt with some C libraries",
			action:  "REINDEX indexes on text in a locale other than C", branches: []branch{bad(90502)},
			source: "release notes 9.5.2",
		},
		{
			id: "map-truncation-not-logged", severity: Warn,
			problem:  "truncation of the free space map and the visibility map is not logged: both are wrong on standbys",
			action:   "VACUUM the affected tables; rebuild the visibility map (9.6)",
			branches: []branch{bad(90315), bad(90410), bad(90505), bad(90601)}, source: "release notes 9.6.1",
		},
		{
			id: "cic-race", severity: Warn,
			problem:  "CREATE INDEX CONCURRENTLY can build a corrupt index",
			action:   "REINDEX indexes that were built concurrently",
			branches: []branch{bad(90411), bad(90506), bad(90602)}, source: "release notes 9.6.2",
		},
		{
			id: "freeze-multixact", severity: Warn,
			problem:  "freezing rows with a multixact can corrupt them; promotion right after a WAL switch writes a bad file",
			branches: []branch{bad(90413), bad(90508), bad(90604)}, source: "release notes 9.6.4",
		},
	}
}

func faultsSince10() []fault {
	return []fault{
		{
			id: "vacuum-key-share", severity: Warn,
			problem:  "VACUUM can corrupt rows with key-share locks; hash indexes can be corrupt (10)",
			branches: []branch{bad(90416), bad(90511), bad(90607), bad(100002)}, source: "release notes 10.2",
		},
		{
			id: "fsync-retried", severity: Warn,
			problem: "a failed fsync is tried again and then taken for done; wrong index entries for columns with a fast default (11)",
			branches: append([]branch{bad(110002)},
				sameDate(90421, 90516, 90612, 100007)...), source: "release notes 11.2",
		},
		{
			id: "gin-replay-skew", severity: Block, skew: true,
			problem:  "the standby misreads the GIN page deletions of an older primary",
			action:   "update the standby before it starts replaying",
			branches: []branch{bad(110003).since(2)}, source: "release notes 11.3",
		},
		{
			id: "overwrite-contrecord", severity: Warn,
			problem: "a primary that crashed in the middle of a WAL record leaves its standbys unable to continue; corruption of indexes",
			action:  "update standbys before their primary",
			branches: append([]branch{bad(130005), bad(140001)},
				sameDate(90624, 100019, 110014, 120009)...), source: "release notes 13.5, 14.1",
		},
		{
			id: "prune-hot-chains", severity: Warn,
			problem:  "pruning can corrupt row version chains; REINDEX CONCURRENTLY can corrupt TOAST indexes",
			action:   "REINDEX indexes that were rebuilt concurrently",
			branches: append([]branch{bad(140002)}, sameDate(120010, 130006)...), source: "release notes 14.2",
		},
		{
			id: "cic-misses-rows", severity: Block,
			problem: "CREATE INDEX CONCURRENTLY and REINDEX CONCURRENTLY miss rows",
			action:  "REINDEX, without CONCURRENTLY, indexes that were built so", branches: []branch{bad(140004)},
			source: "release notes 14.4",
		},
		{
			id: "create-database-replay", severity: Warn,
			problem:  "replay of CREATE DATABASE stops the standby when a tablespace directory has gone since",
			branches: append([]branch{bad(110017), bad(140005)}, sameDate(100022, 120012, 130008)...),
			source:   "release notes 11.17, 14.5",
		},
	}
}

func using(name string, value func(Setting) bool) func(Settings) bool {
	return func(s Settings) bool {
		v, ok := s[name]
		return !ok || value(v)
	}
}

func positive(s Setting) bool {
	n, err := s.Int()
	return err != nil || n > 0
}

func notEmpty(s Setting) bool { return s.Value != "" }

// isOn reads a value as pg_settings gives it: on or off, whatever the file says.
func isOn(s Setting) bool { return s.Value != "off" }

func faultsSince15() []fault {
	return []fault{
		{
			id: "create-database-wal-log", severity: Block,
			problem: "CREATE DATABASE with STRATEGY WAL_LOG, the default, can corrupt the template's pg_class",
			action:  "use CREATE DATABASE … STRATEGY FILE_COPY until the update", branches: []branch{bad(150003)},
			source: "release notes 15.3",
		},
		{
			id: "vacuum-defer-cleanup-age", severity: Block,
			problem:  "vacuum_defer_cleanup_age can lose data",
			action:   "set vacuum_defer_cleanup_age to 0",
			branches: append([]branch{bad(150003)}, sameDate(140008)...),
			when:     using("vacuum_defer_cleanup_age", positive), source: "release notes 15.3",
		},
		{
			id: "oom-ends-wal", severity: Warn,
			problem: "a lack of memory while reading WAL is taken for the end of WAL; pg_control can be read torn",
			branches: append([]branch{bad(150005)},
				sameDate(120017, 130013, 140010, 160001)...), source: "release notes 15.5",
		},
		{
			id: "standby-kills-index-entries", severity: Warn,
			problem: "a standby can mark live index entries dead (index corruption after promotion); a new database may miss files in a base backup",
			branches: append([]branch{bad(150006)},
				sameDate(120018, 130014, 140011, 160002)...), source: "release notes 15.6",
		},
		{
			id: "prepared-subtransactions", severity: Block,
			problem: "a starting standby takes subtransactions of prepared transactions for aborted",
			branches: append([]branch{bad(150008)},
				sameDate(120020, 130016, 140013, 160004)...),
			when: using("max_prepared_transactions", positive), source: "release notes 15.8",
		},
		{
			id: "rewind-deletes-wal", severity: Warn,
			problem: "pg_rewind can delete WAL that the server still needs; the release before changed a structure that extensions use",
			action:  "do not use pg_rewind before the update",
			branches: append([]branch{bad(150010)},
				sameDate(130018, 140015, 160006, 170002)...), source: "release notes 15.10",
		},
		{
			id: "cross-page-record-loop", severity: Warn,
			problem: "a streaming standby can loop for ever on a record that crosses a page; truncation can corrupt tables",
			branches: append([]branch{bad(150011)},
				sameDate(130019, 140016, 160007, 170003)...), source: "release notes 15.11",
		},
		{
			id: "sync-wait-after-start", severity: Warn,
			problem: "commits right after a start may not wait for the synchronous standby",
			branches: append([]branch{bad(150013)},
				sameDate(130021, 140018, 160009, 170005)...),
			when: using("synchronous_standby_names", notEmpty), source: "release notes 15.13",
		},
		{
			id: "slot-advance-removes-wal", severity: Warn,
			problem: "WAL can be removed too early when a slot advances during a checkpoint",
			branches: append([]branch{bad(150014)},
				sameDate(130022, 140019, 160010, 170006)...), source: "release notes 15.14",
		},
		{
			id: "new-slot-invalidated", severity: Warn,
			problem: "a new slot can be invalidated at once by a concurrent checkpoint; recovery without its first WAL file corrupts",
			action:  "check the slot again after it was created",
			branches: append([]branch{bad(150016)},
				sameDate(140021, 160012, 170008, 180002)...), source: "release notes 15.16",
		},
		{
			id: "multixact-truncation-skew", severity: Block, skew: true,
			problem: "the standby stops with \"could not access status of transaction\" when it replays a multixact truncation of an older primary",
			action:  "update the standby first, or keep it on the primary's release",
			branches: []branch{
				bad(140022).since(21), bad(150017).since(16), bad(160013).since(12),
				bad(170009).since(8), bad(180003).since(2),
			},
			source: "release notes 17.9, 18.3",
		},
		{
			id: "multixact-creation-skew", severity: Warn, skew: true,
			problem: "the standby can crash again and again on a checkpoint during multixact creation by an older primary",
			branches: append([]branch{bad(150018)},
				sameDate(140023, 160014, 170010, 180004)...), source: "release notes 15.18",
		},
		{
			id: "free-space-map-checksums", severity: Warn,
			problem: "a standby with data checksums never writes its free space map: tables bloat after promotion",
			branches: append([]branch{bad(150018)},
				sameDate(140023, 160014, 170010, 180004)...),
			when: using("data_checksums", isOn), source: "release notes 15.18",
		},
		{
			id: "replay-self-deadlock-skew", severity: Block, skew: true,
			problem: "the standby can deadlock with itself when it replays the WAL of an older primary",
			action:  "update the standby first, or keep it on the primary's release",
			branches: append([]branch{bad(150019).since(18)},
				sinceEach(sameDate(140024, 160015, 170011, 180005), 23, 14, 10, 4)...), source: "release notes 15.19",
		},
		{
			id: "cascade-reconnect", severity: Warn,
			problem: "a cascaded standby may not reconnect; pg_stat_wal_receiver can show the connection string; unlogged sequences break after promotion",
			branches: append([]branch{bad(150019)},
				sameDate(140024, 160015, 170011, 180005)...), source: "release notes 15.19",
		},
		{
			id: "torn-control-file", severity: Warn,
			problem: "pg_control can be torn in base backups; snapshots exported by a standby corrupt hint bits (parallel pg_dump); a WAL sender can use freed memory",
			action:  "do not run parallel pg_dump on a standby before the update",
			branches: append([]branch{bad(150020)},
				sameDate(140025, 160016, 170012, 180006)...), source: "release notes 15.20",
		},
		{
			id: "summarize-wal-promotion", severity: Warn,
			problem:  "an incremental backup after a promotion can restore old blocks",
			action:   "take a full backup after each promotion",
			branches: []branch{bad(170000 + unfixed)},
			when:     using("summarize_wal", isOn), source: "commit message to branch 17 on pgsql-committers",
		},
	}
}

func sinceEach(branches []branch, first ...int) []branch {
	out := make([]branch, len(branches))
	for i, b := range branches {
		out[i] = b.since(first[i])
	}
	return out
}
