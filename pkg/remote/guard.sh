# guard.sh TTL: ends the SSH connection that it runs in when its client has been silent for TTL seconds.
# Nobody reads what it says, and a word to a connection that is gone would end it.
exec >/dev/null 2>&1
ttl=$1
ours() { grep -q '^Name:.sshd' "/proc/$1/status" 2>/dev/null; }
# The nearest sshd above us is the one that serves this connection, as the login user.
sshd=$PPID
until ours "$sshd"; do
	sshd=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$sshd/status" 2>/dev/null)
	[ "${sshd:-0}" -gt 1 ] || exit 0
done
arm() {
	(
		trap 'kill "$nap" 2>/dev/null; exit 0' TERM
		sleep "$ttl" &
		nap=$!
		wait "$nap"
		ours "$sshd" && kill -TERM "$sshd"
	) </dev/null >/dev/null 2>&1 &
	timer=$!
}
trap 'kill "$timer" 2>/dev/null; exit 0' TERM HUP
arm
while read -r beat; do
	kill "$timer" 2>/dev/null
	arm
done
# The end of the input is an end that sshd knows of.
kill "$timer" 2>/dev/null
exit 0
