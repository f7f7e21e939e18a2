package steps

// Kind is one step kind: its key in a plan file, what it is, and an example.
type Kind struct {
	Name string
	Doc  string
	// Example is a list item of a plan file; tests load it.
	Example string
	// New returns a pointer to the kind's zero parameters: a Step or a Bracket.
	New func() any
}

// Kinds is the one list of step kinds. The plan loader, the documentation, the
// completion and the tests derive from it.
func Kinds() []Kind {
	return []Kind{
		{"lock", "Holds the cluster lock, on the primary, around its body.", "lock: {}\ndo: []", func() any { return &Lock{} }},
		{"preflight", "Refuses to go on when a blocking check of `pgrepctl doctor` fails.", "at: standby\npreflight: {}", func() any { return &Preflight{} }},
		{"role", "Makes a database role that may replicate; the server only ever sees a verifier of its password.", "at: primary\nrole: {name: replicator, replication: true}", func() any { return &Role{} }},
		{"pg_hba", "Adds a rule to pg_hba.conf, before any rule that would shadow it, or takes out one that was added.", "at: primary\npg_hba: {allow: {type: hostssl, database: replication, user: replicator, address: 10.0.0.12/32}}", func() any { return &HBA{} }},
		{"postgresql.conf", "Sets settings in the file where they take effect.", "at: primary\npostgresql.conf: {set: {wal_level: {min: replica}}, inventory: true}", func() any { return &Conf{} }},
		{"server", "Starts or stops the server, or settles what edited files ask for.", "at: primary\nserver: {settle: reload-or-refuse}", func() any { return &Server{} }},
		{"slot", "Makes the physical replication slot of a standby, or drops one.", "at: upstream\nslot: {name: pg2, reserve: true}", func() any { return &Slot{} }},
		{"orphan-slots", "Drops the physical slots that no host of the inventory has and nobody uses, or tells of them.", "at: primary\norphan-slots: {state: absent}", func() any { return &OrphanSlots{} }},
		{"slot-limit", "Sets how much WAL a slot may keep (max_slot_wal_keep_size, 13 and later), unless a slot in use would lose WAL by that.", "at: primary\nslot-limit: {size: 10GB}", func() any { return &SlotLimit{} }},
		{"passfile", "Stores the replication password in a 0600 file of the server's OS user, or takes it off the host.", "at: standby\npassfile: {}", func() any { return &Passfile{} }},
		{"login", "Proves access by a real replication login from the standby's host; with copy-from, that its ssh reaches the sshd of the host that is copied from, too.", "at: standby\nlogin: {to: upstream}", func() any { return &Login{} }},
		{"data-directory", "Fences a data directory before a copy, or makes the copy durable and startable.", "at: standby\ndata-directory: {state: fenced}", func() any { return &DataDirectory{} }},
		{"standby-config", "Writes what makes the server a standby: signal file, conninfo, slot name.", "at: standby\nstandby-config: {slot: pg2}", func() any { return &StandbyConfig{} }},
		{"copy-key", "Lets the standby pull from its upstream with a key made for this run alone, around its body.", "at: standby\ncopy-key: {from: upstream, expires: 168h}\ndo: []", func() any { return &CopyKey{} }},
		{"backup", "Holds a base backup open around its body: a non-exclusive one from 9.6 on, the exclusive one of 9.4 and 9.5.", "at: upstream\nbackup: {label: pgrepctl, checkpoint: fast}\ndo: []", func() any { return &Backup{} }},
		{"rsync", "Pulls the data directory and the tablespaces; pg_control comes last.", "at: standby\nrsync: {from: upstream, streams: auto}", func() any { return &Rsync{} }},
		{"archive-directory", "Makes the directories of WAL archives that the inventory lets it make.", "at: standby\narchive-directory: {}", func() any { return &ArchiveDirectory{} }},
		{"apply-delay", "Makes a standby that streams replay late, as apply_delay of the inventory says.", "at: standby\napply-delay: {}", func() any { return &ApplyDelay{} }},
		{"synchronous", "Makes commits wait for the inventory's synchronous standbys that stream.", "at: primary\nsynchronous: {}", func() any { return &Synchronous{} }},
		{"backup-label", "Writes backup_label and tablespace_map as the server gave them.", "at: standby\nbackup-label: {}", func() any { return &BackupLabel{} }},
		{"wait", "Waits until the standby streams and has replayed what was written after its start.", "at: standby\nwait: {streaming: true, timeout: 10m}", func() any { return &Wait{} }},
		{"member", "Refuses to go on when a server is not what the inventory calls it: the primary, or a standby of its system.", "at: primary\nmember: {}", func() any { return &Member{} }},
		{"restart", "Restarts a server when its turn comes, for settings that need one; the order over the replication tree is computed.", "at: primary\nrestart: {turn: primary, allow: rolling}", func() any { return &Restart{} }},
		{"replay", "Pauses replay on a standby and waits until the pause holds, or resumes it.", "at: standby\nreplay: {state: paused}", func() any { return &Replay{} }},
		{"replay-paused", "Keeps replay paused around its body; it resumes by itself when this machine falls silent, or after the leash.", "at: standby\nreplay-paused: {leash: 10m}\ndo: []", func() any { return &ReplayPaused{} }},
		{"recovery-target", "Restarts a standby to replay up to a target and stand there, read-only; or takes the target away again.", "at: standby\nrecovery-target: {until: time 2026-11-26 07:10:00+00}", func() any { return &RecoveryTarget{} }},
		{"traffic", "Keeps reads away from a standby at every balancer, and waits until nobody reads from it; or lets them in again.", "at: standby\ntraffic: {state: drained}", func() any { return &Traffic{} }},
		{"traffic-restored", "Lets reads in at its end, however it came to that, where its body still keeps them away; of a schema change, once it is replayed there.", "traffic-restored: {}\ndo: []", func() any { return &TrafficRestored{} }},
		{"caught-up", "Waits for standbys that are far behind, before a rollout of a schema change or a promotion.", "at: primary\ncaught-up: {standbys: pg2}", func() any { return &CaughtUp{} }},
		{"deployable", "Refuses a rollout of a schema change that could block or lose a read, or starve a commit.", "at: primary\ndeployable: {second: pg2}", func() any { return &Deployable{} }},
		{"ddl", "Runs a schema change on the primary in one transaction, with a short wait for each lock, again until it succeeds; from its COMMIT on a run only goes forward.", "at: primary\nddl: {database: shop, statements: '[\"alter table items add column note text\"]', paused: \"pg2\"}", func() any { return &DDL{} }},
		{"replayed", "Waits until a standby has replayed the run's schema change; one that has not in time is left out of the traffic.", "at: standby\nreplayed: {timeout: 1m}", func() any { return &Replayed{} }},
		{"deployed", "Proves that every standby has the run's schema change, and that none stands still.", "at: primary\ndeployed: {database: shop}", func() any { return &Deployed{} }},
		{"verify", "Proves that the standby is one, of this system and timeline, and takes a restart point.", "at: standby\nverify: {}", func() any { return &Verify{} }},
		{"retirable", "Refuses to take a standby out of the cluster while others stream from it, or when it is none.", "at: standby\nretirable: {downstreams: refuse, as: stopped}", func() any { return &Retirable{} }},
		{"synchronous_standby_names", "Takes a standby out of synchronous_standby_names; refuses when commits would hang.", "at: primary\nsynchronous_standby_names: {without: standby}", func() any { return &SyncNames{} }},
		{"repoint", "Lets a standby stream from another host: a slot there, primary_conninfo, and a reload, or a restart before 13.", "at: pg2\nrepoint: {to: pg1}", func() any { return &Repoint{} }},
		{"leave", "Stops a standby that leaves, or promotes it to a server of its own.", "at: standby\nleave: {as: stopped}", func() any { return &Leave{} }},
		{"retired", "Proves that a server has no slot and no walsender of the standby any more.", "at: upstream\nretired: {}", func() any { return &Retired{} }},
		{"promotable", "Refuses to make a standby the primary while that would make two of them, or lose what another one has.", "at: standby\npromotable: {primary: refuse}", func() any { return &Promotable{} }},
		{StepDownKind, "Stops the old primary cleanly, and fences it: it can only start read-only.", "at: primary\nstep-down: {}", func() any { return &StepDown{} }},
		{"promote", "Makes the standby the primary, once it has all that the old one wrote.", "at: standby\npromote: {after: primary}", func() any { return &Promote{} }},
		{"reseedable", "Says why a standby has to be seeded again, and refuses when nothing says so, or what lies there is not of this cluster.", "at: standby\nreseedable: {old: overwritten, force: false}", func() any { return &Reseedable{} }},
		{"old-data", "Stops a standby that is seeded again, and fences, erases or renames its data.", "at: standby\nold-data: {are: overwritten}", func() any { return &OldData{} }},
		{"erase", "Empties the data directory of a standby that has left, its WAL directory and its tablespaces.", "at: standby\nerase: {confirm: pg2}", func() any { return &Erase{} }},
		{"scratch-database", "Keeps a database around its body that has the schema of another one, and no rows.", "at: primary\nscratch-database: {of: shop}\ndo: []", func() any { return &ScratchDatabase{} }},
		{"ddl-probe", "Runs a script of schema changes in the scratch database, and finds out what each statement locks and writes anew.", "at: primary\nddl-probe: {of: shop, file: change.sql, script: alter table items add note text}", func() any { return &DDLProbe{} }},
	}
}
