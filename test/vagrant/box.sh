#!/bin/bash
# box.sh OUT.box - build a box for Vagrant's libvirt provider (Debian bookworm, PostgreSQL 15)
# from nothing but Debian packages: no catalogue of boxes, nobody else's image. amd64, root.
# Needs mmdebstrap, e2fsprogs, extlinux, syslinux-common, qemu-utils, vagrant (for its public key).
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
# In a mount namespace of its own: however this ends, no mount stays, and with its mount goes the loop device.
if [ "$1" != --inside ]; then
	exec unshare --mount --propagation private "$0" --inside "$(realpath -m "$1")"
fi
out=$2
mkdir -p "${out%/*}"
work=$(mktemp -d "$out.XXXXXX")
root=$work/root
trap 'mountpoint -q "$root" && umount -R "$root"; rm -rf --one-file-system "$work"' EXIT

# No partition table, so no partition has to be found behind the loop device; the boot loader's
# first sector is the file system's. extlinux cannot read the two features that are turned off.
truncate -s 4G "$work/disk"
mkfs.ext4 -qF -L root -m 0 -O '^64bit,^metadata_csum' "$work/disk"
mkdir "$root"
mount -o loop "$work/disk" "$root"

packages=(
	linux-image-cloud-amd64 initramfs-tools systemd-sysv udev dbus libpam-systemd # a machine
	ifupdown isc-dhcp-client iproute2                                             # Vagrant sets up the network with these
	openssh-server openssh-client perl postgresql-15 procps rsync ssl-cert sudo   # a database host, as in the lab
)
mmdebstrap --quiet --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	bookworm "$root"

cd "$root"
rm -rf etc/ssh/ssh_host_* etc/postgresql/[0-9]* var/lib/postgresql/[0-9]* var/cache/apt/*.bin
sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' etc/postgresql-common/createcluster.conf
: >etc/machine-id
echo 'LANG=C.UTF-8' | tee -a etc/default/locale >>etc/environment
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >etc/fstab
for t in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
	ln -sf /dev/null "etc/systemd/system/$t.timer"
done
cat >etc/network/interfaces <<'CONF'
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback
allow-hotplug eth0
iface eth0 inet dhcp
CONF

# Every machine makes its own host key at its first boot. One, of the cheapest kind: emulated, an RSA key takes a minute.
cat >etc/ssh/sshd_config.d/box.conf <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
UseDNS no
CONF
mkdir -p etc/systemd/system/ssh.service.d
cat >etc/systemd/system/ssh.service.d/hostkey.conf <<'CONF'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
CONF

# What Vagrant expects of a box: this user, with the key that every Vagrant has.
chroot . useradd --create-home --shell /bin/bash vagrant
install -d -m 700 home/vagrant/.ssh
install -m 600 "$(dpkg -L vagrant | grep '/keys/vagrant\.pub$')" home/vagrant/.ssh/authorized_keys
chroot . chown -R vagrant: /home/vagrant/.ssh
echo 'vagrant ALL=(ALL:ALL) NOPASSWD: ALL' >etc/sudoers.d/vagrant
chmod 440 etc/sudoers.d/vagrant

# mitigations: they protect nothing in a machine that lives for minutes, and cost much where each instruction is emulated.
mkdir boot/extlinux
cat >boot/extlinux/extlinux.conf <<'CONF'
DEFAULT linux
PROMPT 0
LABEL linux
 LINUX /vmlinuz
 INITRD /initrd.img
 APPEND root=LABEL=root rw console=ttyS0 net.ifnames=0 mitigations=off quiet
CONF
cp /usr/lib/syslinux/modules/bios/ldlinux.c32 boot/extlinux/
extlinux --install boot/extlinux 2>/dev/null
cd /
# What was unpacked and deleted meanwhile would be carried along.
fstrim "$root"
umount "$root"

qemu-img convert -c -O qcow2 -o compression_type=zstd "$work/disk" "$work/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}' >"$work/metadata.json"
tar -C "$work" -cf "$work/box" metadata.json box.img
mv "$work/box" "$out"
