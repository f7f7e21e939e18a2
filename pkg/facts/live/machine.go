package live

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// machineScript runs as the login user: sh of dash, bash or busybox. Arguments:
// nonce, OS user of the server, its data directory. The whole of it is a function
// so that no command can read the rest of the script as its input.
//
// What a copy starts on its source is started here as well, to see whether sudo
// lets it: `sudo -l` does not tell whether a password will be asked for. An
// rsync sender whose client is gone at once has read nothing.
const machineScript = `main() {
LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin; export PATH
printf '\0begin:%s\0' "$1"
me=$(id -un)
# Beside the rest: an rsync that is a server waits a moment before it ends.
if [ "$me" != "$2" ] && program sudo && program rsync; then
	{
		said=$(sudo -n -u "$2" rsync --server --sender -re. . "$3/" 2>&1 >/dev/null)
		[ $? = 1 ] && kv sudo_rsync "$said"
	} &
fi
kv clock "$(date '+%s.%N %z')"
kv login "$me"
kv login_home "$HOME"
kv ssh_connection "${SSH_CONNECTION:-}"
kv os "$(getent passwd "$2" 2>/dev/null || awk -F: -v u="$2" '$1 == u' /etc/passwd)"
for f in /etc/machine-id /var/lib/dbus/machine-id; do
	id=
	[ -r "$f" ] && read -r id <"$f"
	[ -n "$id" ] && kv machine_id "$id" && break
done
[ -r /proc/sys/kernel/random/boot_id ] && read -r id </proc/sys/kernel/random/boot_id && kv boot_id "$id"
kv uname "$(uname -srm)"
kv glibc "$(getconf GNU_LIBC_VERSION 2>/dev/null)"
kv locales "$(locale -a 2>/dev/null)"
kv cores "$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null)"
grep -Eiqs '^(flags|features)[[:space:]]*:.* aes( |$)' /proc/cpuinfo && kv aes yes
for t in rsync perl python3 python socat sync find sudo ssh tar flock setsid systemctl pg_ctlcluster pg_createcluster restorecon; do
	program "$t" && kv tool "$t=$found"
done
kv rsync "$(rsync --version 2>/dev/null)"
while read -r key uid rest; do
	[ "$key" = Uid: ] && kv login_uid "$uid" && break
done <"/proc/$$/status"
sshd /etc/ssh/sshd_config .
# One that serves a session has another title.
for c in /proc/[0-9]*/comm; do
	read -r name <"$c" && [ "$name" = sshd ] || continue
	IFS= read -r title <"${c%comm}cmdline"
	case $title in /* | "sshd: /"*) kv sshd_args "$(tr '\0' ' ' <"${c%comm}cmdline")" ;; esac
done 2>/dev/null
wait
printf 'end:%s\0' "$1"
}
kv() { printf '%s=%s\0' "$1" "$2"; }
` + findProgram + `# sshd FILE DEPTH: the file, and what it includes.
sshd() {
	[ -f "$1" ] || return 0
	[ -r "$1" ] || { kv sshd_unread "$1"; return 0; }
	kv sshd "$1=$(dd if="$1" bs=65536 count=1 2>/dev/null)"
	[ "$2" != ..... ] || return 0
	sed -n 's/^[[:space:]]*[Ii][Nn][Cc][Ll][Uu][Dd][Ee][[:space:]=][[:space:]=]*//p' "$1" | while IFS= read -r line; do
		set -f
		for g in $line; do
			case $g in /*) ;; *) g=/etc/ssh/$g ;; esac
			set +f
			for f in $g; do sshd "$f" "$2."; done
			set -f
		done
		set +f
	done
}
main "$@" </dev/null
`

func parseMachine(r record) (facts.Machine, error) {
	m := facts.Machine{
		LoginUser: r.get("login"), LoginHome: r.get("login_home"),
		MachineID: strings.TrimSpace(r.get("machine_id")), BootID: strings.TrimSpace(r.get("boot_id")),
		AES: r.has("aes"), Tools: map[string]string{},
		RsyncVersion: parseRsyncVersion(r.get("rsync")),
		RsyncZstd:    rsyncZstd(r.get("rsync")),
		Clock:        parseClock(r.get("clock")),
	}
	m.ShellSays, _, _ = strings.Cut(strings.TrimLeft(r.before, "\r\n"), "\n")
	if f := strings.Fields(r.get("ssh_connection")); len(f) == 4 {
		m.SSHPort, _ = strconv.Atoi(f[3]) // 0 is not known
	}
	m.KeyFiles = keyFiles(r, login{name: m.LoginUser, uid: r.get("login_uid"), home: m.LoginHome})
	m.SudoRefusal = sudoSaid(r.get("sudo_rsync"))
	if f := strings.Fields(r.get("uname")); len(f) == 3 {
		m.Kernel, m.Arch = f[0]+" "+f[1], f[2]
	}
	m.Glibc, _ = strings.CutPrefix(r.get("glibc"), "glibc ")
	m.Locales = strings.Fields(r.get("locales"))
	if n, err := strconv.Atoi(r.get("cores")); err == nil && n > 0 {
		m.Cores = n
	}
	for _, t := range r.values["tool"] {
		// A function or alias of a profile has a name and no path.
		if name, path, _ := strings.Cut(t, "="); strings.HasPrefix(path, "/") {
			m.Tools[name] = path
		}
	}
	if os := r.get("os"); os != "" {
		f := strings.Split(os, ":")
		if len(f) < 7 {
			return facts.Machine{}, fmt.Errorf("password entry %q: not of seven fields", os)
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil || uid < 0 {
			return facts.Machine{}, fmt.Errorf("password entry %q: no user id", os)
		}
		m.OSUser, m.UID, m.OSUserHome = f[0], uid, f[5]
	}
	return m, nil
}

// sudoSaid is sudo's own refusal, not what rsync says in its place.
func sudoSaid(stderr string) string {
	last := host.Tail(stderr, 1)
	if strings.HasPrefix(last, "rsync") {
		return ""
	}
	return last
}

// parseClock reads `date '+%s.%N %z'`; busybox has no %N and prints it, or
// nothing, in its place. The location is the host's own, which the expiry-time
// of an authorized_keys line is read in.
func parseClock(s string) time.Time {
	stamp, zone, _ := strings.Cut(strings.TrimSpace(s), " ")
	sec, frac, _ := strings.Cut(stamp, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return time.Time{}
	}
	nano := int64(0)
	if len(frac) == 9 {
		if v, err := strconv.ParseUint(frac, 10, 32); err == nil {
			nano = int64(v)
		}
	}
	t := time.Unix(n, nano).UTC()
	if z, err := time.Parse("-0700", zone); err == nil {
		_, offset := z.Zone()
		return t.In(time.FixedZone("", offset))
	}
	return t
}

// parseRsyncVersion takes the number out of "rsync  version 3.2.7  protocol
// version 31"; openrsync of the BSDs has another form and counts as none.
func parseRsyncVersion(s string) string {
	m := regexp.MustCompile(`^rsync\s+version\s+v?(\d+\.\d+(?:\.\d+)?)`).FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	return m[1]
}

// rsyncZstd looks into the list that follows "Compress list:".
func rsyncZstd(s string) bool {
	m := regexp.MustCompile(`(?m)^Compress list:\n((?:[ \t].*\n?)*)`).FindStringSubmatch(s)
	return m != nil && slices.Contains(strings.Fields(m[1]), "zstd")
}
