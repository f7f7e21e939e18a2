n=$1 ttl=$2
shift 2
exec 3<&0 </dev/null
if [ "$n" -gt 0 ]; then
	# Whole, or not at all: half of a list of files is a list of files.
	umask 077
	input=$(mktemp) || exit 125
	head -c "$n" <&3 >"$input"
	exec <"$input"
	size=$(wc -c <"$input")
	rm -f "$input"
	[ "$size" -eq "$n" ] || { echo "leash: input ended early" >&2; exit 125; }
fi
# Groups of their own, so that what they start ends with them.
own=
command -v setsid >/dev/null 2>&1 && own=setsid
# The holder of the lease writes a line now and then. This comes before any trap: a
# child that still has its parent's trap loses the signal that ends it.
$own /bin/sh -c '
while :; do
	(
		sleep "$2"
		kill -s TERM "$1"
	) </dev/null &
	read -r beat || break
	kill "$!"
done
kill -s TERM "$1"' pgrepctl-leash "$$" "$ttl" <&3 >/dev/null 2>&1 &
watch=$!
end() {
	kill -s "$1" -- "-$child" 2>/dev/null || kill -s "$1" "$child" 2>/dev/null
}
finish() {
	trap '' TERM INT HUP
	# $! and not $child: this may come before the assignment.
	child=$!
	[ "$child" != "$watch" ] || exit 143
	# The connection may be gone: the shell's own "Terminated" would end us here.
	exec >/dev/null 2>&1
	end TERM
	i=0
	while [ "$i" -lt 250 ] && end 0; do
		sleep 0.02 2>/dev/null || { sleep 1 && i=$((i + 49)); }
		i=$((i + 1))
	done
	end KILL
}
trap finish TERM INT HUP
# A background command has no stdin but the one it is given.
exec 4<&0
$own "$@" <&4 3<&- 4<&- &
child=$!
exec 3<&- 4<&-
while :; do
	wait "$child"
	rc=$?
	kill -0 "$child" 2>/dev/null || break
done
trap '' TERM
# Its group may come to be between two words, and with it what would end by number, in
# a while, whatever has ours then.
{ kill -s TERM -- "-$watch" || { kill "$watch"; kill -s TERM -- "-$watch"; }; } 2>/dev/null
exit "$rc"
