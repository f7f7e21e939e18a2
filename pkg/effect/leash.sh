# Reads a line: the statement that lets replay go on. Says "ready", and when it is
# ended, or after $1 seconds, runs it with the psql $2. What follows says where the server
# is: -h DIRECTORY -p PORT, and what else psql needs. Runs under a leash.
IFS= read -r resume
seconds=$1 psql=$2
shift 2
exec </dev/null
longest=600
# The pause is of the server that runs now, and forgotten by the next one: replay of that
# may stand for another reason. This file names it, by its pid and its start.
lock=$2/.s.PGSQL.$4.lock
was=$(cat "$lock" 2>/dev/null)
# The server may have no connection to give (53300), and replay must not stand for that: it
# is tried each second, until it has succeeded (or there is nothing to resume any more, or
# no recovery), the server is another one, or $longest tries are over. Who could pause
# replay anew meanwhile has a connection, and so has the try of that second. The first
# try is waited for. All is in a session of its own, for our end is followed by a KILL in
# 5 seconds.
own=
command -v setsid >/dev/null 2>&1 && own=setsid
keep='
resume=$1 psql=$2 longest=$3 lock=$4 was=$5
shift 5
try() {
	PGCONNECT_TIMEOUT=10 PGOPTIONS="-c statement_timeout=10s" "$psql" -XAtq "$@" -c "$resume"
}
try "$@" && exit
while [ "$longest" -gt 0 ] && sleep 1 && [ "$(cat "$lock")" = "$was" ] && ! try "$@"; do
	longest=$((longest - 1))
done &
'
go_on() {
	trap '' TERM INT HUP
	# The connection may be gone: a word to it, such as the shell's own "Terminated", would
	# be the end of this.
	exec >/dev/null 2>&1
	kill "$nap"
	$own /bin/sh -c "$keep" pgrepctl-leash "$resume" "$psql" "$longest" "$lock" "$was" "$@"
	exit 0
}
"$psql" --version >/dev/null || exit
sleep "$seconds" &
nap=$!
trap 'go_on "$@"' TERM INT HUP
echo ready
exec >/dev/null 2>&1
wait "$nap"
go_on "$@"
