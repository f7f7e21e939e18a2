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
		{"pg_hba", "Adds a rule to pg_hba.conf, before any rule that would shadow it.", "at: primary\npg_hba: {allow: {type: hostssl, database: replication, user: replicator, address: 10.0.0.12/32}}", func() any { return &HBA{} }},
		{"postgresql.conf", "Sets settings in the file where they take effect.", "at: primary\npostgresql.conf: {set: {wal_level: {min: replica}}, inventory: true}", func() any { return &Conf{} }},
		{"server", "Starts or stops the server, or settles what edited files ask for.", "at: primary\nserver: {settle: reload-or-refuse}", func() any { return &Server{} }},
		{"slot", "Makes the physical replication slot of a standby.", "at: upstream\nslot: {name: pg2, reserve: true}", func() any { return &Slot{} }},
		{"passfile", "Stores the replication password in a 0600 file of the server's OS user.", "at: standby\npassfile: {}", func() any { return &Passfile{} }},
		{"login", "Proves access by a real replication login from the standby's host.", "at: standby\nlogin: {to: upstream}", func() any { return &Login{} }},
		{"data-directory", "Fences a data directory before a copy, or makes the copy durable and startable.", "at: standby\ndata-directory: {state: fenced}", func() any { return &DataDirectory{} }},
		{"standby-config", "Writes what makes the server a standby: signal file, conninfo, slot name.", "at: standby\nstandby-config: {slot: pg2}", func() any { return &StandbyConfig{} }},
		{"copy-key", "Lets the standby pull from its upstream with a key made for this run alone, around its body.", "at: standby\ncopy-key: {from: upstream, expires: 24h}\ndo: []", func() any { return &CopyKey{} }},
		{"backup", "Holds a non-exclusive base backup open around its body.", "at: upstream\nbackup: {label: pgrepctl, checkpoint: fast}\ndo: []", func() any { return &Backup{} }},
		{"rsync", "Pulls the data directory and the tablespaces; pg_control comes last.", "at: standby\nrsync: {from: upstream}", func() any { return &Rsync{} }},
		{"backup-label", "Writes backup_label and tablespace_map as the server gave them.", "at: standby\nbackup-label: {}", func() any { return &BackupLabel{} }},
		{"wait", "Waits until the standby streams and has replayed what was written after its start.", "at: standby\nwait: {streaming: true, timeout: 10m}", func() any { return &Wait{} }},
		{"verify", "Proves that the standby is one, of this system and timeline, and takes a restart point.", "at: standby\nverify: {}", func() any { return &Verify{} }},
	}
}
