# guard.sh TTL: ends the SSH connection that it runs in when its client has been silent for TTL seconds.
# Nobody reads what it says, and a word to a connection that is gone would end it.
exec >/dev/null 2>&1
ttl=$1
# The nearest sshd above us is the one that serves this connection, as the login user.
sshd=$PPID
until grep -q '^Name:.sshd' "/proc/$sshd/status" 2>/dev/null; do
	sshd=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$sshd/status" 2>/dev/null)
	[ "${sshd:-0}" -gt 1 ] || exit 0
done
# A group of its own, so that the shell and its sleep end together. No traps, here
# or there: a child that is still to reset the one it inherits loses its signal.
own=
command -v setsid >/dev/null 2>&1 && own=setsid
arm() {
	$own /bin/sh -c 'sleep "$1"; kill -0 "$3" && grep -q "^Name:.sshd" "/proc/$2/status" && kill -s TERM "$2"' guard "$ttl" "$sshd" "$$" </dev/null >/dev/null 2>&1 &
	timer=$!
}
# Its group may come to be between two words, and its sleep with it.
disarm() { kill -s TERM -- "-$timer" || { kill -s TERM "$timer"; kill -s TERM -- "-$timer"; }; }
arm
while read -r beat; do
	disarm
	arm
done
# The end of the input is an end that sshd knows of.
disarm
exit 0
