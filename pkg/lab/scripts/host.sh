# host.sh VERB HOST…: acts on the hosts of a lab. Runs in the namespaces of machine.sh.
# From the environment: LAB_STATE, LAB_DISKS, LAB_ROOTFS (directories), LAB_OVERLAY (mount options), LAB_CGROUP
# (the control group of hosts that systemd boots; empty where PID 1 only reaps), LAB_PLAIN (not empty: PostgreSQL's
# files are not on the overlay).
set -eu
run=/run/lab

die() { echo "$*" >&2; exit 1; }
# A host whose PID 1 ended by itself is off, although its pid is still written down.
is_on() { [ -e "$run/$1.pid" ] && read -r pid <"$run/$1.pid" && [ -d "/proc/$pid" ]; }
must_be_on() { is_on "$1" || die "host $1 is off"; }
clean_env() {
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 "$@"
}

boot() { # HOST ADDRESS MAC
  ! is_on "$1" || die "host $1 is already on"
  # What a boot that failed half-way has left.
  off "$1"
  ip netns add "$1"
  # The MAC is fixed: with a new one after each boot, stale ARP entries cost the peers more than a minute.
  ip link add "$1" type veth peer name eth0 address "$3" netns "$1"
  ip -n "$1" link set lo up
  ip -n "$1" addr add "$2/24" dev eth0
  ip -n "$1" link set eth0 up
  ip link set "$1" master br0
  [ -e "$run/$1.cut" ] || ip link set "$1" up
  [ ! -e "$run/$1.rate" ] || shape "$1" "$(cat "$run/$1.rate")"
  # <> because that never waits for a reader: should we be killed here, the host boots on.
  mkfifo "$run/$1.booted"
  [ -z "$LAB_CGROUP" ] || mkdir "$LAB_CGROUP/$1"
  setsid nsenter --net="/run/netns/$1" unshare --mount --propagation private --uts --ipc --pid --fork --kill-child \
    sh "$LAB_STATE/host.sh" init "$1" </dev/null >"$LAB_STATE/$1/console.log" 2>&1 3<>"$run/$1.booted" &
  read -r answer <"$run/$1.booted" || answer=
  rm "$run/$1.booted"
  if [ "$answer" != booted ]; then
    off "$1"
    tail -n 20 "$LAB_STATE/$1/console.log" >&2
    die "host $1 did not boot"
  fi
}

init() { # HOST [inside]: becomes its PID 1
  if [ -n "$LAB_CGROUP" ] && [ -z "${2:-}" ]; then
    # The root of the new namespace is the group that we are in. The processes outside that wait for us stay out
    # of it: systemd, which could not move them, may hand controllers down only where no process is.
    echo 0 >"$LAB_CGROUP/$1/cgroup.procs"
    exec unshare --cgroup sh "$LAB_STATE/host.sh" init "$1" inside
  fi
  # This /proc is still the lab's: the first field is our pid among all hosts.
  read -r pid rest </proc/self/stat
  echo "$pid" >"$run/$1.pid"
  disk=$LAB_DISKS/$1 r=$LAB_DISKS/$1/root
  mount -t overlay overlay -o "${LAB_OVERLAY}lowerdir=$LAB_ROOTFS,upperdir=$disk/upper,workdir=$disk/work" "$r"
  [ -z "$LAB_PLAIN" ] || plain "$disk" "$r/var/lib/postgresql"
  mount -t proc proc "$r/proc"
  mount -t sysfs -o ro sysfs "$r/sys"
  mount -t tmpfs -o mode=755,size=1m dev "$r/dev"
  for d in null zero full random urandom tty; do
    : >"$r/dev/$d"
    mount --bind "/dev/$d" "$r/dev/$d"
  done
  mkdir "$r/dev/pts" "$r/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$r/dev/pts"
  ln -s pts/ptmx "$r/dev/ptmx"
  ln -s /proc/self/fd "$r/dev/fd"
  ln -s fd/0 "$r/dev/stdin"
  ln -s fd/1 "$r/dev/stdout"
  ln -s fd/2 "$r/dev/stderr"
  mount -t tmpfs -o mode=1777 shm "$r/dev/shm"
  mount -t tmpfs -o mode=755 run "$r/run"
  mount -t tmpfs -o mode=1777 tmp "$r/tmp"
  mkdir -m 700 "$r/run/lab"
  [ -z "$LAB_CGROUP" ] || for_systemd "$1" "$r"
  cp "$LAB_STATE/init.sh" "$LAB_STATE/id.pub" "$LAB_STATE/hosts" "$LAB_STATE/$1/hostkey" "$LAB_STATE/$1/hostkey.pub" "$r/run/lab/"
  cd "$r"
  mkdir -p .old
  pivot_root . .old
  cd /
  hash -r
  # A shell of the new root: ours would keep the old one busy.
  clean_env /bin/sh /run/lab/init.sh "$1"
}

plain() { # DISK DIRECTORY: a directory of the root that is one of the disk itself
  if [ ! -e "$1/plain" ]; then
    rm -rf "$1/plain.new"
    cp -a "$2" "$1/plain.new"
    mv "$1/plain.new" "$1/plain"
  fi
  mount --bind "$1/plain" "$2"
}

for_systemd() { # HOST ROOT: what systemd needs there besides
  mount -t cgroup2 cgroup2 "$2/sys/fs/cgroup"
  # Most of it is the machine's own: no sysctl.d of a host may write there.
  mount --bind "$2/proc/sys" "$2/proc/sys"
  mount --bind "$2/proc/sys/net" "$2/proc/sys/net"
  mount -o remount,bind,ro "$2/proc/sys"
  # systemd closes what it inherits, so fd 3 goes in by a name.
  : >"$2/run/lab-booted"
  mount --bind "$run/$1.booted" "$2/run/lab-booted"
}

off() { # HOST
  # The cable first: a host without power sends no FIN, its peers must find out by their timeouts.
  ip link set "$1" down 2>/dev/null || true
  # By network namespace and not by pid, so that a boot that got stuck half-way goes too.
  while pids=$(ip netns pids "$1" 2>/dev/null) && [ -n "$pids" ]; do
    kill -KILL $pids 2>/dev/null || true
  done
  [ -z "$LAB_CGROUP" ] || remove_group "$LAB_CGROUP/$1"
  ip link del "$1" 2>/dev/null || true
  ip netns del "$1" 2>/dev/null || true
  rm -f "$run/$1.pid" "$run/$1.frozen" "$run/$1.booted"
}

remove_group() { # DIRECTORY; its last processes, dead already, need a moment to be gone
  while [ -d "$1" ] && ! find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; do
    sleep 0.01
  done
}

freeze_group() { # HOST 1|0: also what a unit keeps in a network namespace of its own
  echo "$2" >"$LAB_CGROUP/$1/cgroup.freeze"
  until grep -q "^frozen $2" "$LAB_CGROUP/$1/cgroup.events"; do sleep 0.01; done
}

signal_all() { # HOST SIGNAL, again until nobody was born in between
  before=
  while pids=$(ip netns pids "$1") && [ "$pids" != "$before" ]; do
    kill "-$2" $pids 2>/dev/null || true
    before=$pids
  done
}

shape() { # HOST RATE
  tc qdisc replace dev "$1" root tbf rate "$2" burst 32k latency 400ms
  ip netns exec "$1" tc qdisc replace dev eth0 root tbf rate "$2" burst 32k latency 400ms
}

verb=$1
shift
case $verb in
boot) boot "$@" ;;
init) init "$@" ;;
off) off "$1" ;;
exec)
  must_be_on "$1"
  shift
  # Into the group of PID 1, so that what is started there belongs to the host; before its namespace is entered,
  # as nobody may move himself across the border of one from inside (nsdelegate).
  [ -z "$LAB_CGROUP" ] || set -- sh -c 'echo 0 >/sys/fs/cgroup/init.scope/cgroup.procs; exec nsenter --cgroup=/proc/1/ns/cgroup -- setpriv --pdeathsig KILL "$@"' sh "$@"
  # pdeathsig: the command ends with the one who waits for it.
  clean_env nsenter -t "$pid" -m -u -i -n -p -r -w -- setpriv --pdeathsig KILL "$@"
  ;;
cut)
  must_be_on "$1"
  ip link set "$1" down
  : >"$run/$1.cut"
  ;;
heal)
  rm -f "$run/$1.cut"
  ! is_on "$1" || ip link set "$1" up
  ;;
freeze)
  must_be_on "$1"
  if [ -n "$LAB_CGROUP" ]; then freeze_group "$1" 1; else signal_all "$1" STOP; fi
  : >"$run/$1.frozen"
  ;;
thaw)
  must_be_on "$1"
  if [ -n "$LAB_CGROUP" ]; then freeze_group "$1" 0; else signal_all "$1" CONT; fi
  rm -f "$run/$1.frozen"
  ;;
slow) # HOST RATE; an empty rate is full speed again
  must_be_on "$1"
  if [ -n "$2" ]; then
    shape "$1" "$2"
    echo "$2" >"$run/$1.rate"
  else
    rm -f "$run/$1.rate"
    tc qdisc del dev "$1" root 2>/dev/null || true
    ip netns exec "$1" tc qdisc del dev eth0 root 2>/dev/null || true
  fi
  ;;
part) # ADDRESS ADDRESS
  command -v nft >/dev/null || die "nft is not installed (package nftables)"
  nft -f - <<RULES
add table bridge lab
add chain bridge lab parted { type filter hook forward priority 0; }
add rule bridge lab parted ip saddr $1 ip daddr $2 drop
add rule bridge lab parted ip saddr $2 ip daddr $1 drop
RULES
  echo "$1 $2" >>"$run/parted"
  ;;
join)
  rm -f "$run/parted"
  # Add first, so that there is one to delete. Without nft nothing was ever parted.
  ! command -v nft >/dev/null || nft 'add table bridge lab; delete table bridge lab'
  ;;
status) # HOST…: one line each: name power cable rate
  for h in "$@"; do
    power=off cable=whole rate=-
    ! is_on "$h" || power=on
    [ ! -e "$run/$h.frozen" ] || power=frozen
    [ ! -e "$run/$h.cut" ] || cable=cut
    [ ! -e "$run/$h.rate" ] || rate=$(cat "$run/$h.rate")
    echo "host $h $power $cable $rate"
  done
  [ ! -e "$run/parted" ] || sed 's/^/parted /' "$run/parted"
  ;;
*) die "unknown verb $verb" ;;
esac
