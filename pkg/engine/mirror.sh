# Keeps a copy of a run's journal in the directory $1, as standard input says once
# "ready" was printed: "new" or "add"; lines of the journal; "end"; or "gone". It
# answers "ok" when that is done, and "failed" after what went wrong. Nothing is
# started for an "add", of which there is one for each act.
#
# Descriptor 3 is the copy from before it has its name. Whoever takes the run over puts
# a file of his own in its place, to which nothing of ours is ever added.
umask 077
exec 2>&1
dir=$1 file=$1/journal.jsonl adding= bad=
ours() {
	[ "$file" -ef /dev/fd/3 ] || { bad=1; echo "somebody else has changed $file"; }
}
echo ready
while IFS= read -r line; do
	case $line in
	'{'*) [ -n "$bad" ] || printf '%s\n' "$line" >&3 || bad=1 ;;
	new)
		bad= adding=
		# Not ":", whose failing redirection would end the shell; that of exec
		# comes when the file is known to be there.
		{ mkdir -p "$dir" && rm -f "$file.new" && true >"$file.new" && exec 3>>"$file.new"; } || bad=1
		;;
	add)
		bad= adding=1
		ours
		;;
	end)
		# What is added is left to the system to write: it outlives us and the
		# control machine, and that one has it fsynced should this one crash.
		if [ -n "$bad" ]; then
			:
		elif [ -n "$adding" ]; then
			ours
		else
			{ sync "$file.new" && mv -f "$file.new" "$file" && sync "$dir"; } || bad=1
		fi
		if [ -z "$bad" ]; then echo ok; else echo failed; fi
		;;
	gone)
		# What else is in the directory is of use still: bytes from before.
		if rm -f "$file" "$file.new"; then
			rmdir "$dir" "${dir%/*}" 2>/dev/null
			echo ok
		else
			echo failed
		fi
		;;
	esac
done
