# Keeps a copy of a run's journal in the directory $1, as standard input says once
# "ready" was printed: "new", or "add" and the size it must have; lines of
# the journal; "end"; or "gone". It
# answers "ok" when that is done, and "failed" after what went wrong.
umask 077
exec 2>&1
dir=$1 file=$1/journal.jsonl to= bad=
echo ready
while IFS= read -r line; do
	case $line in
	'{'*) printf '%s\n' "$line" >>"$to" || bad=1 ;;
	new)
		bad= to=$file.new
		# Not ":", whose failing redirection would end the shell.
		{ mkdir -p "$dir" && true >"$to"; } || bad=1
		;;
	'add '*)
		bad= to=$file
		[ "$(wc -c <"$file")" -eq "${line#add }" ] || { bad=1 to=/dev/null; echo "somebody else has changed $file"; }
		;;
	end)
		# What is added is left to the system to write: it outlives us and the
		# control machine, and that one has it fsynced should this one crash.
		if [ -z "$bad" ] && { [ "$to" = "$file" ] || { sync "$to" && mv -f "$to" "$file" && sync "$dir"; }; }; then
			echo ok
		else
			echo failed
		fi
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
