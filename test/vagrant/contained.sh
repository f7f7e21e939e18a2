#!/bin/bash
# contained.sh DIR - a libvirtd of our own, which ends with our standard input. Root.
# It lives in its own network, mount and process namespaces: no systemd, no D-Bus, no service of this machine. When this
# ends, however it ends, the kernel ends every process in there, and the machines, bridges and mounts are gone with them.
# Says "ready" once libvirtd answers. All of its files are in DIR, which is removed at the end. Others enter by nsenter,
# by way of this process.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2s/^# //p' "$0" >&2; exit 64; }
if [ "$1" != --inside ]; then
	mkdir -p /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt # what we mount over
	exec unshare --mount --propagation private --uts --ipc --net --pid --fork --kill-child --mount-proc "$0" --inside "$1"
fi
dir=$2
mkdir -p "$dir"/{etc,lib/{images,qemu,dnsmasq,boot,network},cache,log/qemu}
cp -a /etc/libvirt/. "$dir/etc/"
# As root and without cgroups: both would be others' to arrange. stdio_handler: no virtlogd.
cat >"$dir/etc/qemu.conf" <<'CONF'
security_driver = "none"
user = "root"
group = "root"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
CONF
echo 'auth_unix_rw = "none"' >"$dir/etc/libvirtd.conf"
# libvirtd insists on these users, which a package makes that would also start services.
{ cat /etc/passwd; echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin'; } >"$dir/passwd"
{ cat /etc/group; echo 'libvirt-qemu:x:64055:'; echo 'libvirt:x:64056:'; } >"$dir/group"
mount --bind "$dir/passwd" /etc/passwd
mount --bind "$dir/group" /etc/group
mount --bind "$dir/etc" /etc/libvirt
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/cache" /var/cache/libvirt
mount --bind "$dir/log" /var/log/libvirt
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/libvirt /run/lock
ip link set lo up
hostname pgrepctl-vagrant

libvirtd -d >&2
n=0
until virsh -q -c qemu:///system version >/dev/null 2>&1; do
	[ $((n += 1)) -lt 300 ] || { echo "contained.sh: libvirtd does not answer" >&2; exit 1; }
	sleep 0.2
done
echo ready
read -r _ || true
# Whoever made it may be gone. The daemons are not, and may be writing.
rm -rf "$dir" || true
