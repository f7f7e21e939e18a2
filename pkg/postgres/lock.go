package postgres

import "strconv"

// The cluster lock is an advisory lock on the primary, where every operator
// meets. The key is the same for every inventory: two files that name the same
// server differently still exclude each other. It is freed when the session
// ends, and by nothing else; there is no expiry to judge by a clock.
const (
	lockClass = 0x70677265 // "pgre"
	lockKey   = 1
)

// TryClusterLock takes the cluster lock, or not: one row, one column ok.
func TryClusterLock() string {
	return "select pg_try_advisory_lock(" + strconv.Itoa(lockClass) + ", " + strconv.Itoa(lockKey) + ") as ok"
}

// ClusterLockHolder selects who holds it: pid, application, since. Locks of the
// two-key form have objsubid 2; those of other databases are not ours.
const ClusterLockHolder = `select a.pid, a.application_name as application, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') as since
	from pg_locks l join pg_stat_activity a using (pid)
	where l.locktype = 'advisory' and l.granted and l.classid = 1885827685 and l.objid = 1 and l.objsubid = 2
		and l.database = (select oid from pg_database where datname = current_database())`
