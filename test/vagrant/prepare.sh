#!/bin/sh
# prepare.sh primary|standby - on a new machine, as root: what its owner would do before pgrepctl comes. A primary
# runs with data checksums and TLS and listens on all addresses; its pg_hba.conf admits nobody from elsewhere. A
# standby has the package and an empty data directory. The service manager is systemd. Debian as the lab's
# hosts (pkg/lab/postgres.go), or the RHEL family 9 with its own packages.
set -eu
case $1 in primary | standby) ;; *) sed -n '2s/^# //p' "$0" >&2; exit 64 ;; esac

debian() {
	conf=/etc/postgresql/15/main data=/var/lib/postgresql/15/main
	pg_createcluster 15 main -- --data-checksums --no-sync
	if [ "$1" = standby ]; then
		find $data -mindepth 1 -delete
		return
	fi
	echo "listen_addresses = '*'" >$conf/conf.d/vagrant.conf
	chown postgres:postgres $conf/conf.d/vagrant.conf
	systemctl start postgresql@15-main
}

rhel() {
	data=/var/lib/pgsql/data
	dnf -q -y module enable postgresql:15
	dnf -q -y install postgresql-server postgresql-contrib rsync openssl perl-interpreter
	if [ "$1" = standby ]; then
		return
	fi
	PGSETUP_INITDB_OPTIONS=--data-checksums postgresql-setup --initdb
	runuser -u postgres -- openssl req -quiet -new -x509 -days 30 -nodes -subj "/CN=$(hostname)" \
		-out $data/server.crt -keyout $data/server.key
	chmod 600 $data/server.key
	printf "%s\n" "listen_addresses = '*'" "ssl = on" >>$data/postgresql.conf
	systemctl enable --now postgresql
}

if [ -e /etc/debian_version ]; then debian "$1"; else rhel "$1"; fi
