# Reads lines: a file or "", a directory or "", words that are in one line of the file
# each, an empty line, and command lines. Says "ready", and when it is ended removes the
# lines and the directory, and ends what sshd has started with those commands. Runs under
# a leash.
IFS= read -r file
IFS= read -r dir
set --
while IFS= read -r word && [ -n "$word" ]; do
	set -- "$@" "$word"
done
commands=$(cat)
exec </dev/null
# The number of the last line that has one of the words, 0 if none has.
last() {
	n=0
	for word in "$@"; do
		m=$(word=$word awk '{ for (i = 1; i <= NF; i++) if ($i == ENVIRON["word"]) n = NR } END { print n + 0 }' "$file")
		[ "$m" -le "$n" ] || n=$m
	done
}
# What our line says of the file before it is in words behind the mark.
without() {
	if [ "$n" -eq 1 ]; then
		:
	elif [ "$n" -eq "$total" ] && case $1 in *" no-newline-before "*) true ;; *) false ;; esac then
		before=$(head -n "$((n - 1))" "$file") && printf %s "$before"
	else
		head -n "$((n - 1))" "$file"
	fi && tail -n "+$((n + 1))" "$file"
}
cut_line() {
	words=" $(sed -n "${n}p" "$file") "
	total=$(awk 'END { print NR }' "$file")
	without "$words" >"$new" && [ "$(awk 'END { print NR }' "$new")" -eq "$((total - 1))" ] || { rm -f "$new"; return 1; }
	if [ ! -s "$new" ]; then
		case $words in *" new-file "*) rm -f "$file" "$new"; return ;; esac
	fi
	mv -f "$new" "$file"
}
lines() {
	[ -n "$file" ] && [ -f "$file" ] || return
	file=$(readlink -f -- "$file")
	while [ -f "$file" ] && last "$@" && [ "$n" -gt 0 ]; do
		new=$(mktemp "${file%/*}/.${file##*/}.pgrepctl-XXXXXX") && cp -p "$file" "$new" || return
		cut_line || return
	done
}
# A sender whose client is gone without a word waits for it, for as long as its time-out
# is. It may be another user's, by sudo: the sshd that it talks through is ours.
senders() {
	[ -n "$commands" ] || return 0
	# In the C locale ps shows a byte that is not ASCII as "?".
	{ ps -ww -eo pid= -o ppid= -o args= || ps -o pid= -o ppid= -o args=; } 2>/dev/null | commands=$commands LC_ALL=C awk '
		BEGIN {
			n = split(ENVIRON["commands"], list, "\n")
			for (i = 1; i <= n; i++) if (list[i] != "") { ours[list[i]]; gsub(/[^ -~]/, "?", list[i]); ours[list[i]] }
		}
		{ pid = $1; parent[pid] = $2; sub(/^ *[0-9]+ +[0-9]+ +/, ""); args[pid] = $0 }
		END {
			for (pid in args) if (args[pid] in ours) {
				print pid
				for (up = parent[pid]; up in args && up > 1; up = parent[up])
					if (args[up] ~ /^sshd(-session)?: / && args[up] !~ /listener/) { print up; break }
			}
		}' | while read -r pid; do kill "$pid"; done 2>/dev/null
}
remove() {
	trap '' TERM INT HUP
	kill "$nap" 2>/dev/null
	[ -z "$dir" ] || rm -rf -- "$dir"
	lines "$@"
	senders
	exit 0
}
sleep 2147483647 &
nap=$!
trap 'remove "$@"' TERM INT HUP
echo ready
# Our connection is gone when it matters: a word to it, such as the shell's own
# "Terminated", would be the end of this.
exec >/dev/null 2>&1
wait "$nap"
remove "$@"
