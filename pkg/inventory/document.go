package inventory

import (
	"go.yaml.in/yaml/v4"
)

// The types of this file are the document: its keys, in the order in which
// they are shown, are the yaml tags. Decoding, defaults, overriding, the JSON
// schema and the tables of docs/inventory.md are all made from them:
//
//	required  the key must be there
//	default   the value when it is given nowhere
//	derived   the default, in words, when code finds it
//	doc       one line for schema and docs

type document struct {
	section
	Cluster     value[clusterName] `yaml:"cluster" required:"true" doc:"name of the cluster"`
	Postgres    postgresSection    `yaml:"postgres" doc:"the servers; every key can be overridden per host"`
	Replication replicationSection `yaml:"replication" doc:"how standbys log in to their upstreams"`
	SSH         sshSection         `yaml:"ssh" doc:"how hosts are reached; every key can be overridden per host"`
	Traffic     trafficSection     `yaml:"traffic" derived:"none: nothing routes reads to the standbys" doc:"what routes reads to the standbys"`
	Archive     archiveList        `yaml:"archive" derived:"none" doc:"where WAL files are kept that an upstream has no longer: one or two, tried in this order"`
	Hosts       hostMap            `yaml:"hosts" required:"true" doc:"the hosts by name, one of them the primary"`
}

type postgresSection struct {
	section
	Version         value[version]  `yaml:"version" derived:"required" doc:"major version, 9.4 to 18, the same on every host"`
	DataDirectory   value[absPath]  `yaml:"data_directory" derived:"required" doc:"the data directory"`
	ConfigDirectory value[absPath]  `yaml:"config_directory" derived:"data_directory" doc:"where postgresql.conf and pg_hba.conf are"`
	BinDirectory    value[absPath]  `yaml:"bin_directory" derived:"found on the host" doc:"where pg_ctl and postgres are"`
	WALDirectory    value[absPath]  `yaml:"wal_directory" derived:"pg_wal in data_directory" doc:"a directory on another disk that pg_wal links to"`
	SocketDirectory value[absPath]  `yaml:"socket_directory" derived:"found on the host" doc:"directory of the server's unix socket"`
	Port            value[port]     `yaml:"port" default:"5432" doc:"port of the server"`
	OSUser          value[osUser]   `yaml:"os_user" default:"postgres" doc:"operating system user that owns the data directory and runs the server"`
	Superuser       value[roleName] `yaml:"superuser" derived:"os_user" doc:"database superuser that os_user can log in as by peer authentication"`
	Service         serviceSection  `yaml:"service" derived:"pg_ctlcluster when config_directory is /etc/postgresql/VERSION/NAME, else pg_ctl" doc:"how the server is started and stopped; overridden as a whole"`
	Settings        settingMap      `yaml:"settings" doc:"settings that postgresql.conf must have; hosts add to and override them by name"`
	Tablespaces     pathMap         `yaml:"tablespaces" derived:"where they are on the source" doc:"location of a tablespace on the source, and where it goes on this host; hosts add to and override them by location"`
}

type serviceSection struct {
	section
	Kind    value[serviceKind] `yaml:"kind" required:"true" doc:"what runs the server"`
	Name    value[serviceName] `yaml:"name" derived:"the last element of config_directory when it is /etc/postgresql/VERSION/NAME, else main; for systemd postgresql@VERSION-NAME there, else required" doc:"pg_ctlcluster: name of the Debian cluster; systemd: name of the unit"`
	Start   argv               `yaml:"start" doc:"command: starts the server, returns when it accepts connections"`
	Stop    argv               `yaml:"stop" doc:"command: stops the server (fast shutdown), returns when it has ended"`
	Restart argv               `yaml:"restart" doc:"command: stop, then start"`
	Reload  argv               `yaml:"reload" doc:"command: makes the server read its configuration again"`
	Status  argv               `yaml:"status" doc:"command: exit status 0 when the server runs"`
}

type replicationSection struct {
	section
	User        value[roleName] `yaml:"user" default:"replicator" doc:"database role with REPLICATION that standbys log in as"`
	Password    secretSection   `yaml:"password" derived:"none" doc:"its password, by reference"`
	SSLMode     value[sslMode]  `yaml:"sslmode" default:"require" doc:"sslmode of the replication connections"`
	SSLRootCert value[rootCert] `yaml:"sslrootcert" derived:"none" doc:"CA certificates on the standbys, or system (libpq 16 or later); needed by verify-ca and verify-full"`
	Binding     value[binding]  `yaml:"channel_binding" derived:"as libpq's: prefer" doc:"require: standbys refuse an upstream that does not log them in by SCRAM, bound to its certificate (13 or later; from 16 on any other method is refused too)"`
	Slots       value[boolean]  `yaml:"slots" default:"true" doc:"give each standby a replication slot on its upstream"`
	Synchronous value[syncRule] `yaml:"synchronous" derived:"first 1 when a host is synchronous" doc:"how many of the synchronous hosts a commit waits for: the first N of them in the order of the file, or any N"`
}

type sshSection struct {
	section
	User           value[loginUser] `yaml:"user" derived:"ssh_config, else the local user" doc:"user to log in as"`
	Port           value[port]      `yaml:"port" derived:"ssh_config, else 22" doc:"port of sshd"`
	Become         value[become]    `yaml:"become" default:"sudo" doc:"how to act as os_user and root"`
	BecomePassword secretSection    `yaml:"become_password" derived:"none: sudo must not ask" doc:"password for sudo, by reference"`
	IdentityFile   list[localPath]  `yaml:"identity_file" derived:"ssh_config, agent, usual files" doc:"private keys to offer"`
	Jump           value[jump]      `yaml:"jump" derived:"ssh_config" doc:"[user@]host[:port] to go through, several with commas, or none; not with proxy_command"`
	ProxyCommand   argv             `yaml:"proxy_command" derived:"ssh_config" doc:"command whose stdin and stdout are the connection; %h, %p and %r are host, port and user, %% is %; no shell"`
	ConfigFile     value[localPath] `yaml:"config_file" derived:"the user's and the system's" doc:"an ssh_config to read instead"`
	KnownHosts     list[localPath]  `yaml:"known_hosts" derived:"the user's and the system's" doc:"known_hosts files"`
	HostKey        value[hostKey]   `yaml:"host_key" derived:"known_hosts" doc:"the one key to accept, as \"ssh-ed25519 AAAA…\" or \"SHA256:…\""`
	ConnectTimeout value[duration]  `yaml:"connect_timeout" default:"10s" doc:"time to connect and log in"`
}

type secretSection struct {
	section
	Env     value[envName]   `yaml:"env" doc:"name of an environment variable"`
	File    value[localPath] `yaml:"file" doc:"a file with mode 0600 or narrower"`
	Command argv             `yaml:"command" doc:"a command that prints it; no shell, no input"`
}

type trafficSection struct {
	section
	ClientsRetry       value[boolean]  `yaml:"clients_retry" default:"false" doc:"clients try a read once more on another connection when theirs is cut; idle sessions that outlive a drain may then be cut"`
	ConnectionLifetime value[duration] `yaml:"connection_lifetime" derived:"unlimited" doc:"after how long clients, or their pools, end a connection by themselves"`
	DrainTimeout       value[duration] `yaml:"drain_timeout" default:"10min" doc:"how long a drain waits for the last session to end"`
	IgnoreUsers        list[roleName]  `yaml:"ignore_users" derived:"none" doc:"database roles of monitoring, whose sessions do not keep a standby from being drained"`
	Balancers          balancerMap     `yaml:"balancers" required:"true" doc:"the balancers by name, in the order in which a drain talks to them"`
}

type balancerSection struct {
	section
	Kind            value[balancerKind] `yaml:"kind" required:"true" doc:"what it is"`
	Address         value[address]      `yaml:"address" derived:"the balancer's name; the standby itself for kind file" doc:"host name or IP address, for SSH"`
	SSH             sshSection          `yaml:"ssh" doc:"overrides of ssh: for this balancer"`
	OSUser          value[osUser]       `yaml:"os_user" derived:"the user that logs in; for pgbouncer postgres" doc:"operating system user that may use its socket, or runs the commands"`
	Socket          value[absPath]      `yaml:"socket" derived:"required" doc:"haproxy: its stats socket, with level admin"`
	Backend         value[backendName]  `yaml:"backend" derived:"required" doc:"haproxy: the backend that reads go to"`
	SocketDirectory value[absPath]      `yaml:"socket_directory" derived:"/var/run/postgresql" doc:"pgbouncer: directory of its unix socket"`
	Port            value[port]         `yaml:"port" derived:"6432" doc:"pgbouncer: its port"`
	ConsoleUser     value[roleName]     `yaml:"console_user" derived:"pgbouncer, which needs os_user to be the user that runs it" doc:"pgbouncer: user of its console"`
	Databases       list[poolName]      `yaml:"databases" derived:"all" doc:"pgbouncer: databases whose connections go through the balancers before it"`
	Path            value[absPath]      `yaml:"path" derived:"required" doc:"file: the file on the standby whose presence keeps reads away"`
	Settle          value[duration]     `yaml:"settle" derived:"6s; beside an haproxy, which says itself what it does, 0s" doc:"file: how long the balancer's check may take to see that it was made, or removed"`
	Drain           argv                `yaml:"drain" doc:"command: keeps reads away; %h is the standby's name at the balancer"`
	Restore         argv                `yaml:"restore" doc:"command: lets reads in again"`
	Status          argv                `yaml:"status" doc:"command: prints drained, or serving, and perhaps the number of sessions behind it"`
}

type hostSection struct {
	section
	Address     value[address]     `yaml:"address" derived:"the host's name" doc:"host name or IP address, for SSH and for its standbys"`
	Role        value[role]        `yaml:"role" required:"true" doc:"what the host is meant to be"`
	Upstream    value[hostName]    `yaml:"upstream" derived:"the primary" doc:"host that a standby streams from"`
	ApplyDelay  value[duration]    `yaml:"apply_delay" derived:"none" doc:"how far a standby stays behind on purpose"`
	Synchronous value[boolean]     `yaml:"synchronous" derived:"false" doc:"commits on the primary wait for this standby, as replication.synchronous says"`
	Copy        value[copyWay]     `yaml:"copy" derived:"direct" doc:"how data come to it: direct, over SSH from the host that has them; or relay, through the machine of the operator, where the hosts cannot meet"`
	Slot        value[slotName]    `yaml:"slot" derived:"the name of the host, in lower case, other characters as _" doc:"replication slot of a standby on its upstream"`
	Postgres    postgresSection    `yaml:"postgres" doc:"overrides of postgres: for this host"`
	SSH         sshSection         `yaml:"ssh" doc:"overrides of ssh: for this host"`
	CopyStreams value[streams]     `yaml:"copy_streams" default:"auto" doc:"how many rsync processes copy to it at a time, 1 to 4; auto is one for each core of the smaller end"`
	CopyZstd    value[compression] `yaml:"copy_compress" default:"auto" doc:"auto compresses by zstd, and tries a stream without it in a long copy; zstd, or none"`
	CopyLimit   value[copyRate]    `yaml:"copy_bwlimit" default:"none" doc:"bytes a second of all streams of a copy together, with kB, MB or GB, such as 50MB; or none"`
	CommitLimit value[commitLimit] `yaml:"copy_commit_limit" default:"auto" doc:"how long a commit on the upstream may take before a copy slows down, such as 20ms; auto is twice as long as before the copy; none"`
	Labels      textMap            `yaml:"labels" doc:"names and values to select hosts by"`
	Traffic     value[trafficName] `yaml:"traffic" derived:"the host's name" doc:"name of the host's server at the load balancer; none keeps reads away"`
}

func (s *document) decode(d *decoder, n *yaml.Node, path string)           { d.into(n, path, s) }
func (s *postgresSection) decode(d *decoder, n *yaml.Node, path string)    { d.into(n, path, s) }
func (s *replicationSection) decode(d *decoder, n *yaml.Node, path string) { d.into(n, path, s) }
func (s *sshSection) decode(d *decoder, n *yaml.Node, path string)         { d.into(n, path, s) }
func (s *trafficSection) decode(d *decoder, n *yaml.Node, path string)     { d.into(n, path, s) }
func (s *hostSection) decode(d *decoder, n *yaml.Node, path string)        { d.into(n, path, s) }
