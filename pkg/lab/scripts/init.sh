# init.sh HOST: PID 1 of a host, from the moment its own root is in place. fd 3 tells that it has booted.
set -eu
umount -l /.old
rmdir /.old
hostname "$1"
if [ ! -e /etc/lab-host ]; then
  # The first boot: what tells this host from the others. Later boots must not touch it, users edit these files.
  tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
  : >/etc/resolv.conf
  echo "$1" >/etc/hostname
  cat /run/lab/hosts >/etc/hosts
  install -m 600 /run/lab/hostkey /etc/ssh/ssh_host_ed25519_key
  install -m 644 /run/lab/hostkey.pub /etc/ssh/ssh_host_ed25519_key.pub
  for user in root admin postgres; do
    home=$(getent passwd "$user" | cut -d: -f6)
    install -d -m 700 -o "$user" -g "$user" "$home/.ssh"
    install -m 600 -o "$user" -g "$user" /run/lab/id.pub "$home/.ssh/authorized_keys"
  done
  : >/etc/lab-host
fi
rm -r /run/lab
if [ -p /run/lab-booted ]; then
  # Where ssh.service and the clusters have started, or failed to, the host has booted.
  mkdir -p /run/systemd/system/multi-user.target.wants
  cat >/run/systemd/system/lab-booted.service <<UNIT
[Unit]
Description=Tell the lab that this host has booted
After=ssh.service postgresql.service systemd-user-sessions.service systemd-logind.service

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo booted >/run/lab-booted'
UNIT
  ln -s ../lab-booted.service /run/systemd/system/multi-user.target.wants/
  # Without the rights that nothing on a host needs and that reach the machine.
  exec env container=lab setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-syslog /sbin/init </dev/null
fi
mkdir -p /run/sshd /run/lock
install -d -m 2775 -o postgres -g postgres /run/postgresql
/usr/sbin/sshd
# sshd writes its pid when it listens.
tries=0
until [ -s /run/sshd.pid ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 1000 ] || { echo "sshd does not listen" >&2; exit 1; }
  sleep 0.01
done
# As at the boot of a Debian server: clusters marked auto in their start.conf are started.
for conf in /etc/postgresql/*/*/start.conf; do
  [ -e "$conf" ] || continue
  /etc/init.d/postgresql start </dev/null 3>&- || true
  break
done
echo booted >&3
exec 3>&- </dev/null
sleep infinity &
# wait also reaps the orphans that the kernel hands to PID 1; a postmaster is one.
while :; do wait; done
