# Runs after rootfs.sh, where systemd boots the hosts; $1 is the new root.
set -eu
r=$1
# There is a logind: a login gets its session, as on a server, and leaves the control group of sshd.
sed -i 's/^#\(session.*pam_systemd.*\)/\1/' "$r/etc/pam.d/common-session"
grep -q '^session.*pam_systemd' "$r/etc/pam.d/common-session"
# A lab has no mirror, and its machine wants its cores for something else.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer; do
  ln -s /dev/null "$r/etc/systemd/system/$unit"
done
# Its time is the machine's, its console nobody's, its network made from outside.
for unit in getty.target systemd-networkd.service systemd-timesyncd.service; do
  [ -e "$r/etc/systemd/system/$unit" ] || ln -s /dev/null "$r/etc/systemd/system/$unit"
done
