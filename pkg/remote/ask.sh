mark=$1 python=$2 to=$3
for p in python3 /usr/bin/python3 /usr/libexec/platform-python; do
	if command -v "$p" >/dev/null 2>&1; then
		exec "$p" -c "$python" "$mark" "$to"
	fi
done
if command -v socat >/dev/null 2>&1; then
	while IFS= read -r line; do
		if said=$(printf '%s\n' "$line" | socat -t 60 - "UNIX-CONNECT:$to" 2>&1 && printf .); then
			printf '%s%s ok\n' "${said%.}" "$mark"
		else
			case $said in
			*"No such file or directory"*) no=2 ;;
			*"Connection refused"*) no=111 ;;
			*"Permission denied"*) no=13 ;;
			*) no=0 ;;
			esac
			# shellcheck disable=SC2086 # its lines become words of one
			set -f; set -- $said
			printf '%s fail %s %s\n' "$mark" "$no" "$*"
		fi
	done
	exit 0
fi
read -r line
printf '%s none\n' "$mark"
