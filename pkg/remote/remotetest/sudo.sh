#!/bin/sh
prompt= interactive=1
while :; do
	case $1 in
	-n) interactive= ; shift ;;
	-k | -S) shift ;;
	-p) prompt=$2; shift 2 ;;
	-u) SUDO_TO=$2; shift 2 ;;
	--) shift; break ;;
	*) echo "sudo: unexpected $1" >&2; exit 1 ;;
	esac
done
export SUDO_TO
case $SUDO_POLICY in
refused) echo "Sorry, user tester is not allowed to execute '$1' as $SUDO_TO on pg1." >&2; exit 1 ;;
tty) echo "sudo: sorry, you must have a tty to run sudo" >&2; exit 1 ;;
password)
	[ "$interactive" ] || { echo "sudo: a password is required" >&2; exit 1; }
	for _ in 1 2 3; do
		printf '[sudo: %s] Password: ' "$prompt" >&2
		read -r password || exit 1
		[ "$password" = secret ] && exec "$@"
		echo "Sorry, try again." >&2
	done
	exit 1 ;;
esac
exec "$@"
