n=$1 ttl=$2
shift 2
exec 3<&0
run=
command -v setsid >/dev/null 2>&1 && run=setsid
if [ "$n" -gt 0 ]; then
	head -c "$n" <&3 | $run "$@" 3<&- &
else
	$run "$@" </dev/null 3<&- &
fi
child=$!
end() {
	kill -"$1" "$child" 2>/dev/null
	[ -z "$run" ] || kill -"$1" -- "-$child" 2>/dev/null
}
finish() {
	end TERM
	i=0
	while [ "$i" -lt 50 ] && kill -0 "$child" 2>/dev/null; do
		sleep 0.1 2>/dev/null || sleep 1
		i=$((i + 1))
	done
	end KILL
}
(
	timer=
	arm() {
		(
			trap 'kill "$nap" 2>/dev/null; exit 0' TERM
			sleep "$ttl" &
			nap=$!
			wait "$nap"
			trap - TERM
			finish
		) 3<&- &
		timer=$!
	}
	trap 'kill "$timer" 2>/dev/null; exit 0' TERM
	arm
	while read -r beat <&3; do
		kill "$timer" 2>/dev/null
		arm
	done
	kill "$timer" 2>/dev/null
	finish
) >/dev/null 2>&1 &
watch=$!
exec 3<&-
trap 'end TERM' TERM INT HUP
wait "$child"
rc=$?
while kill -0 "$child" 2>/dev/null; do
	wait "$child"
	rc=$?
done
kill "$watch" 2>/dev/null
exit "$rc"
