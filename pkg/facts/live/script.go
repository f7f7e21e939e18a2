package live

// scanScript runs as the owner of the data directory. Arguments: nonce, data
// directory, configuration directory, port, major version, bin directory or "",
// socket directory or "", home directory, "libraries" or "", systemd unit or "".
// It only reads, and only through relative names once it is in the data directory.
const scanScript = `main() {
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin; export PATH
dir=$2 conf=$3 port=$4 version=$5 bin=$6 sock=$7 home=$8 what=$9 unit=${10} real=
kv() { printf '%s=%s\0' "$1" "$2"; }
text() { [ -f "$1" ] && [ -r "$1" ] && kv "file:$1" "$(dd if="$1" bs=65536 count=1 2>/dev/null)"; }
printf '\0begin:%s\0' "$1"
kv clock "$(date '+%s.%N %z')"
kv uid "$(id -u)"

near=$dir
while [ ! -d "$near" ] && [ "$near" != / ] && [ "$near" != . ]; do near=$(dirname "$near"); done
kv near "$near"
kv near_real "$(cd "$near" 2>/dev/null && pwd -P)"
kv df "$(df -Pk "$near" 2>/dev/null | tail -n 1)"

if cd "$dir" 2>/dev/null; then
	real=$(pwd -P)
	kv stat "$(stat -c '%a %u %d:%i' . 2>/dev/null)"
	if [ -r . ]; then kv kind directory; else kv kind unreadable; fi
	n=0
	for f in * .[!.]* ..?*; do
		[ -e "$f" ] || [ -L "$f" ] || continue
		kv name "$f"
		n=$((n + 1))
		[ $n -lt 8 ] || break
	done
	text PG_VERSION
	text pgrepctl.run
	text postmaster.pid
	[ -f global/pg_control ] && kv control "$(od -An -v -tx1 -N512 global/pg_control 2>/dev/null | tr -d ' \n')"
	[ -f standby.signal ] && kv standby_signal yes
	grep -Eiqs "^[[:space:]]*standby_mode[[:space:]]*[= ][[:space:]]*'?(on|t|tr|tru|true|y|ye|yes|1)'?[[:space:]]*(#|\$)" recovery.conf && kv recovery_conf yes
	[ -f postgresql.conf ] && kv main_config yes
	cd /
elif [ -d "$dir" ]; then kv kind unreadable; kv stat "$(stat -c '%a %u %d:%i' "$dir" 2>/dev/null)"
elif [ -e "$dir" ] || [ -L "$dir" ]; then kv kind other
else kv kind absent
fi

pid=
[ -n "$real" ] && [ -f "$real/postmaster.pid" ] && { IFS= read -r pid <"$real/postmaster.pid"; pid=${pid#-}; }
case $pid in
'' | *[!0-9]*) pid= ;;
*)
	if [ -d "/proc/$pid" ]; then
		kv pid_owner "$(stat -c %u "/proc/$pid" 2>/dev/null)"
		kv pid_cwd "$(readlink "/proc/$pid/cwd" 2>/dev/null)"
		kv pid_stat "$(cat "/proc/$pid/stat" 2>/dev/null)"
		exe=$(readlink "/proc/$pid/exe" 2>/dev/null)
	fi
	;;
esac
ls -ld /proc/[0-9]*/cwd 2>/dev/null | while IFS= read -r line; do
	case $line in
	*" -> ${real:-$dir}" | *" -> ${real:-$dir} (deleted)")
		p=${line#*/proc/} p=${p%%/*}
		read -r comm <"/proc/$p/comm" || comm=
		case $comm in postgres | postmaster | edb-postgres) kv server "$p" ;; esac
		;;
	esac
done 2>/dev/null

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

where=
[ -n "$real" ] && where=$(sed -n 5p "$real/postmaster.pid" 2>/dev/null)
for d in "$sock" "$where" /var/run/postgresql /run/postgresql /tmp; do
	[ -n "$d" ] && [ -S "$d/.s.PGSQL.$port" ] && kv socket "$d"
done
hex=$(printf %04X "$port")
grep -Eqs ":$hex [0-9A-F]+:0000 0A " /proc/net/tcp /proc/net/tcp6 && kv port_in_use yes

[ -d "$conf" ] && kv config_dir yes
[ -f "$conf/postgresql.conf" ] && kv config_main yes
[ -f "$conf/pg_hba.conf" ] && kv config_hba yes

for d in /dev/shm /run/shm /run/user/"$(id -u)"; do
	[ -d "$d" ] && [ -w "$d" ] && [ -x "$d" ] && awk -v d="$d" '$2 == d && $3 == "tmpfs" { f = 1 } END { exit !f }' /proc/mounts 2>/dev/null && kv tmpfs "$d"
done

for f in "$home"/.pgrepctl/*/journal.jsonl; do
	[ -f "$f" ] && kv run "$f=$(head -n 1 "$f" 2>/dev/null)"
done

exe=${exe%" (deleted)"}
if [ -n "$bin" ]; then set -- "$bin"
else
	found=$(command -v postgres)
	set -- "${exe%/*}" "/usr/lib/postgresql/$version/bin" "/usr/pgsql-$version/bin" /usr/local/pgsql/bin "${found%/*}"
fi
for d in "$@"; do
	[ -n "$d" ] && [ -x "$d/postgres" ] || continue
	kv bin "$d=$("$d/postgres" --version 2>/dev/null | head -n 1)"
	[ "$what" = libraries ] || continue
	kv icu "$d=$(ldd "$d/postgres" 2>/dev/null | sed -n 's/.*libicui18n\.so\.\([0-9][0-9]*\).*/\1/p')"
	# pg_config belongs to a package for developers. Every server has libpqwalreceiver.
	for l in "$("$d/pg_config" --pkglibdir 2>/dev/null)" "$d/../lib" "$d/../lib/postgresql" "$d/../lib64/pgsql" "$d/../lib64/postgresql" "$d/../lib/pgsql"; do
		[ -n "$l" ] && [ -f "$l/libpqwalreceiver.so" ] && cd "$l" || continue
		kv libdir "$d=$(pwd -P)"
		for f in *.so; do kv lib "$d=$f"; done
		cd /
		break
	done
done
}
nonce=$1
main "$@" </dev/null
printf 'end:%s\0' "$nonce"
`
