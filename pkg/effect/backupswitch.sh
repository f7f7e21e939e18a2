# Arguments: the statement that ends our backup, and no other; the server's directory
# of programs; what psql needs to log in. Says "ready", and when it is ended runs the
# statement. Runs under a leash.
sql=$1 bin=$2
shift 2
psql=$bin/psql
[ -x "$psql" ] || psql=$(command -v psql) || {
	echo "no psql, neither in $bin nor on the PATH" >&2
	exit 3
}
own=
command -v setsid >/dev/null 2>&1 && own=setsid
# Statements come on stdin: before 9.6 psql takes one -c only.
ask() {
	statement=$1
	shift
	printf '%s;\n' "set statement_timeout = '60s'" "$statement" |
		PGCONNECT_TIMEOUT=10 $own "$psql" -X -q -A -t -w -v ON_ERROR_STOP=1 "$@"
}
# A switch that cannot do it is worse than none.
ask 'select 1' "$@" >/dev/null </dev/null || exit
end() {
	trap '' TERM INT HUP
	kill "$nap" 2>/dev/null
	ask "$sql" "$@"
	exit 0
}
sleep 2147483647 &
nap=$!
trap 'end "$@"' TERM INT HUP
echo ready
# As in deadman.sh: a word to a connection that is gone would be the end of this.
exec >/dev/null 2>&1 </dev/null
wait "$nap"
end "$@"
