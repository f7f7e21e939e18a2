package live

// scanScript runs as the owner of the data directory. Arguments: nonce, data
// directory, configuration directory, port, the same as four hexadecimal digits,
// major version, bin directory or "", socket directory or "", home directory or "",
// a reach, systemd unit or "". It only reads, and only through relative names once
// it is in the data directory.
//
// It runs many times in a run, and nearly all that it takes is the starts of
// programs: what the shell can find out by itself, it does.
const scanScript = `main() {
LC_ALL=C QUOTING_STYLE=literal; export LC_ALL QUOTING_STYLE
PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin; export PATH
dir=$2 conf=$3 port=$4 hex=$5 version=$6 bin=$7 sock=$8 home=$9 what=${10} unit=${11} real= pid= where= runs=
nl='
'
printf '\0begin:%s\0' "$1"
kv clock "$(date '+%s.%N %z')"
status uid "/proc/$$/status"
uid=$owner

near=$dir
while [ ! -d "$near" ] && [ "$near" != / ]; do
	case $near in */*) near=${near%/*} ;; *) near=. ;; esac
	near=${near:-/}
done
kv near "$near"
cd -P "$near" 2>/dev/null && kv near_real "$PWD"
cd /
kv df "$(df -Pk "$near" 2>/dev/null)"

if cd -P "$dir" 2>/dev/null; then
	real=$PWD
	kv stat "$(stat -c '%u %d:%i' . 2>/dev/null)"
	if [ -r . ]; then kv kind directory; else kv kind unreadable; fi
	n=0
	for f in * .[!.]* ..?*; do
		[ -e "$f" ] || [ -L "$f" ] || continue
		kv name "$f"
		n=$((n + 1))
		[ $n -lt 8 ] || break
	done
	lines PG_VERSION 1
	[ -f pgrepctl.run ] && [ -r pgrepctl.run ] && kv file:pgrepctl.run "$(dd if=pgrepctl.run bs=65536 count=1 2>/dev/null)"
	lines postmaster.pid 8
	pid=${text%%"$nl"*}
	pid=${pid#-}
	for n in 1 2 3 4; do
		case $text in *"$nl"*) text=${text#*"$nl"} ;; *) text= ;; esac
	done
	where=${text%%"$nl"*}
	[ -f global/pg_control ] && kv control "$(od -An -v -tx1 -N512 global/pg_control 2>/dev/null)"
	[ -f standby.signal ] && kv standby_signal yes
	[ -f recovery.conf ] && grep -Eiqs "^[[:space:]]*standby_mode[[:space:]]*[= ][[:space:]]*'?(on|t|tr|tru|true|y|ye|yes|1)'?[[:space:]]*(#|\$)" recovery.conf && kv recovery_conf yes &&
		kv primary_slot "$(grep -Ei '^[[:space:]]*primary_slot_name' recovery.conf 2>/dev/null)"
	h=
	for f in pg_wal/*.history pg_xlog/*.history; do [ -f "$f" ] && h=$f; done
	[ -n "$h" ] && [ -r "$h" ] && kv history "$h" && kv "file:$h" "$(dd if="$h" bs=65536 count=1 2>/dev/null)"
	cd /
elif [ -d "$dir" ]; then kv kind unreadable; kv stat "$(stat -c '%u %d:%i' "$dir" 2>/dev/null)"
elif [ -e "$dir" ] || [ -L "$dir" ]; then kv kind other
else kv kind absent
fi

# The directories that servers are in, and the process that postmaster.pid names.
case $pid in
'' | *[!0-9]*) pid= ;;
*) [ -d "/proc/$pid" ] && status pid "/proc/$pid/status" ;;
esac
if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
	if cd -P "/proc/$pid/cwd" 2>/dev/null && [ "$PWD" = "$real" ]; then kv pid_cwd "$real"; else kv pid_cwd "$(readlink "/proc/$pid/cwd" 2>/dev/null)"; fi
	cd /
fi
servers=
for c in /proc/[0-9]*/comm; do
	read -r comm <"$c" || continue
	case $comm in postgres | postmaster | edb-postgres) servers="$servers ${c%comm}cwd" ;; esac
done 2>/dev/null
if [ -n "$servers" ]; then
	# shellcheck disable=SC2086 # names of ours, without blanks
	servers=$(ls -ld $servers 2>/dev/null)
	set -f
	IFS=$nl
	for line in $servers; do
		p=${line#*/proc/} p=${p%%/*}
		case $line in *" -> ${real:-$dir}" | *" -> ${real:-$dir} (deleted)") kv server "$p"; runs=$p ;; esac
	done
	unset IFS
	set +f
fi

# The unit of a control group: what follows the slices. With version 1 beside
# version 2, systemd may use either.
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
	show() { systemctl show -p Id,LoadState,Type,TimeoutStartUSec,MainPID -- "$1" 2>/dev/null; }
	[ -n "$unit" ] && kv unit "$(show "$unit")"
	if [ -n "$pid" ] && [ -r "/proc/$pid/cgroup" ]; then
		group=$(sed -n -e 's,^0::/\([^/]*\.slice/\)*,,p' -e 's,^[0-9]*:name=systemd:/\([^/]*\.slice/\)*,,p' "/proc/$pid/cgroup")
		for u in $group; do
			u=${u%%/*}
			# What is below is a manager of its own, of one user's units.
			case $u in user@*) ;; *.service) kv group_unit "$(show "$u")" ;; esac
		done
		kv group "$group"
	fi
fi

for d in "$sock" "$where" /var/run/postgresql /run/postgresql /tmp; do
	[ -n "$d" ] && [ -S "$d/.s.PGSQL.$port" ] && kv socket "$d"
done
grep -Eqs ":$hex [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 && kv port_in_use yes

[ -f "$conf/postgresql.conf" ] && kv config_main yes

mounts=$(grep ' tmpfs ' /proc/mounts 2>/dev/null)
for d in /dev/shm /run/shm "/run/user/$uid"; do
	case $mounts in *" $d tmpfs "*) [ -d "$d" ] && [ -w "$d" ] && [ -x "$d" ] && kv tmpfs "$d" ;; esac
done

if [ -z "$home" ]; then
	while IFS=: read -r name x u g words h rest; do
		[ "$u" = "$uid" ] && home=$h && break
	done </etc/passwd
	[ -n "$home" ] || home=$(getent passwd "$uid" 2>/dev/null | cut -d: -f6)
fi
for f in "$home"/.pgrepctl/*/journal.jsonl; do
	[ -f "$f" ] && kv run "$f=$(head -n 1 "$f" 2>/dev/null)"
done

[ "$what" = libraries ] || return 0
if [ -n "$bin" ]; then set -- "$bin"
else
	exe=
	[ -n "$pid" ] && exe=$(readlink "/proc/$pid/exe" 2>/dev/null) exe=${exe%" (deleted)"}
	program postgres
	set -- "${exe%/*}" "/usr/lib/postgresql/$version/bin" "/usr/pgsql-$version/bin" /usr/local/pgsql/bin "${found%/*}"
fi
done=
for d in "$@"; do
	[ -n "$d" ] && [ -x "$d/postgres" ] || continue
	case "$done:" in *":$d:"*) continue ;; esac
	done=$done:$d
	kv bin "$d=$("$d/postgres" --version 2>/dev/null)"
	for c in psql pg_dump; do
		if [ -x "$d/$c" ]; then kv "$c" "$d/$c"; fi
	done
	# What it was compiled for it tells without a data directory, with any
	# directory in its place. That is for a server that is to be made: of one that
	# runs its files have it.
	[ -n "$runs" ] || for s in block_size wal_block_size segment_size; do
		kv "$s" "$d=$("$d/postgres" -C "$s" -D "$d" -c config_file=/dev/null 2>/dev/null)" &
	done
	# What it is linked with stands in it.
	kv icu "$d=$(grep -aoE 'libicui18n\.so\.[0-9]+' "$d/postgres" 2>/dev/null)"
	# Every server has libpqwalreceiver. pg_config belongs to a package for developers.
	libraries "$d/../lib" "$d/../lib/postgresql" "$d/../lib64/pgsql" "$d/../lib64/postgresql" "$d/../lib/pgsql" ||
		libraries "$("$d/pg_config" --pkglibdir 2>/dev/null)"
	wait
done
program psql && kv psql "$found"
# A server without one of its own is dumped by a newer one. In the PATH of Debian is a
# wrapper that wants the server's own.
for d in /usr/lib/postgresql/[0-9]*/bin /usr/pgsql-[0-9]*/bin; do
	v=${d#/usr/lib/postgresql/} v=${v#/usr/pgsql-} v=${v%%/*}
	[ -x "$d/pg_dump" ] && kv newer_dump "$v=$d/pg_dump"
done
program pg_dump && kv path_dump "$found"
}
kv() { printf '%s=%s\0' "$1" "$2"; }
# lines FILE N: its first lines, which are in text then.
lines() {
	text= i=0
	[ -f "$1" ] && [ -r "$1" ] || return
	while [ "$i" -lt "$2" ] && { IFS= read -r line || [ -n "$line" ]; }; do
		text=$text$line$nl
		i=$((i + 1))
	done 2>/dev/null <"$1"
	text=${text%"$nl"}
	kv "file:$1" "$text"
}
# status NAME FILE: of a process, whose user it runs as and whether it is one still.
status() {
	owner=
	while read -r key first second rest; do
		case $key in
		State:) [ "$1" = uid ] || kv "$1_state" "$first" ;;
		Uid:) owner=$second; break ;;
		esac
	done 2>/dev/null <"$2"
	# hidepid=1 shows that others are there, and not what they are.
	[ -n "$owner" ] || owner=$(stat -c %u "${2%/status}" 2>/dev/null)
	if [ "$1" = uid ]; then kv uid "$owner"; else kv "$1_owner" "$owner"; fi
}
` + findProgram + `# libraries DIRECTORY…: those of the server in $d.
libraries() {
	for l in "$@"; do
		[ -n "$l" ] && [ -f "$l/libpqwalreceiver.so" ] && cd -P "$l" || continue
		kv libdir "$d=$PWD"
		for f in *.so; do kv lib "$d=$f"; done
		cd /
		return 0
	done
	return 1
}
nonce=$1
main "$@" </dev/null
printf 'end:%s\0' "$nonce"
`
