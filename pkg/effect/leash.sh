# Reads a line: the statement that lets replay go on. Says "ready", and when it is
# ended, or after $1 seconds, runs it with psql. Runs under a leash.
IFS= read -r resume
seconds=$1 psql=$2
shift 2
exec </dev/null
go_on() {
	trap '' TERM INT HUP
	kill "$nap" 2>/dev/null
	"$psql" -XAtq "$@" -c "$resume"
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
