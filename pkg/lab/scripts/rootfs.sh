# Runs when all packages are configured; $1 is the new root. What all hosts of all labs share is made here, once;
# what tells one host from another is made at its first boot (host.sh).
set -eu
r=$1
rm -rf "$r"/etc/ssh/ssh_host_* "$r"/var/lib/postgresql/[0-9]* "$r"/etc/postgresql/[0-9]* "$r"/var/cache/apt/*.bin "$r"/usr/sbin/policy-rc.d
# Balancers are there for whoever starts them.
rm -f "$r"/etc/systemd/system/multi-user.target.wants/haproxy.service "$r"/etc/systemd/system/multi-user.target.wants/pgbouncer.service
mkdir -p "$r/etc/ssh/sshd_config.d"
# The cluster that the package made for itself is gone (above), and no later one makes itself. The other
# settings of this file stand: without them pg_createcluster makes no conf.d.
sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' "$r/etc/postgresql-common/createcluster.conf"
grep -q '^create_main_cluster = false' "$r/etc/postgresql-common/createcluster.conf"
# UseDNS and MaxStartups: a lab has no name server, and tests dial in bursts.
cat > "$r/etc/ssh/sshd_config.d/lab.conf" <<CONF
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
MaxStartups 100:30:200
CONF
# Without logind pam_systemd only costs a D-Bus timeout.
sed -i 's/^session.*pam_systemd.*/#&/' "$r/etc/pam.d/common-session"
chroot "$r" useradd --create-home --shell /bin/bash admin
echo 'admin ALL=(ALL:ALL) NOPASSWD: ALL' > "$r/etc/sudoers.d/admin"
chmod 440 "$r/etc/sudoers.d/admin"
# LANG: without it pg_createcluster makes a SQL_ASCII cluster.
echo 'LANG=C.UTF-8' > "$r/etc/default/locale"
echo 'LANG=C.UTF-8' >> "$r/etc/environment"
