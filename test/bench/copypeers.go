package main

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// peerPackages are those of the programs that the copy is compared with, as Debian has them.
func peerPackages() []string { return []string{"pgbackrest", "postgresql-15-repmgr"} }

// The words that name the variants.
const (
	plain     = "pg_basebackup, no TLS"
	tls       = "pg_basebackup, TLS"
	serverZ   = "pg_basebackup, TLS, server-zstd:1"
	clone     = "repmgr standby clone"
	naive     = "rsync -a -e ssh"
	restore   = "pgbackrest restore, 2 processes"
	delta     = "pgbackrest restore --delta, 2 processes"
	tool      = "standby bootstrap --compress none"
	toolAuto  = "standby bootstrap --compress auto"
	toolFresh = "standby bootstrap"
	byHand    = "pg_basebackup -R -C -S and pg_ctl start"
	cloneRun  = "repmgr standby clone, pg_ctl start, standby register"
	resumed   = "standby bootstrap broken off, its runs resume"
	reseeded  = "standby reseed"
)

// preparePeers makes the source and the peers' target what their manuals ask for.
func (c *copies) preparePeers(ctx context.Context) error {
	versions, err := c.lab.Exec(ctx, theirs, append([]string{"dpkg-query", "-W", "-f", "${Package} ${Version}, "}, append(peerPackages(), "postgresql-15", "rsync", "openssh-server")...), "")
	if err != nil {
		return err
	}
	c.versions = strings.TrimSuffix(versions, ", ")
	key, err := os.ReadFile(c.lab.IdentityPath())
	if err != nil {
		return err
	}
	known, err := os.ReadFile(c.lab.KnownHostsPath())
	if err != nil {
		return err
	}
	for _, f := range []struct{ host, name, mode, text string }{
		{theirs, "/var/lib/postgresql/.ssh/id_ed25519", "600", string(key)},
		{theirs, "/var/lib/postgresql/.ssh/known_hosts", "644", string(known)},
		{source, "/etc/repmgr.conf", "644", c.repmgrConf(source, 1)},
		{theirs, "/etc/repmgr.conf", "644", c.repmgrConf(theirs, 3)},
		{source, "/etc/pgbackrest.conf", "644", fmt.Sprintf(`[global]
repo1-path=/var/lib/pgbackrest
start-fast=y
archive-check=n
process-max=2
compress-type=zst
compress-level=1
[main]
pg1-path=%s
`, c.files.Data)},
		{theirs, "/etc/pgbackrest.conf", "644", fmt.Sprintf(`[global]
repo1-host=%s
repo1-host-user=postgres
process-max=2
[main]
pg1-path=%s
`, sourceAddress, c.files.Data)},
	} {
		if _, err := c.lab.Exec(ctx, f.host, []string{"sh", "-c", `cat >"$1" && chown postgres:postgres "$1" && chmod "$2" "$1"`, "sh", f.name, f.mode}, f.text); err != nil {
			return fmt.Errorf("write %s on %s: %w", f.name, f.host, err)
		}
	}
	if err := c.psql(ctx, source, "postgres", `create role byhand login replication; create role repmgr login superuser; create database repmgr owner repmgr`); err != nil {
		return err
	}
	return c.sh(ctx, source, "postgres", fmt.Sprintf(`printf '%%s\n' 'host all repmgr 10.77.0.0/24 trust' 'host replication repmgr,byhand 10.77.0.0/24 trust' >>%[1]s/pg_hba.conf
%[2]s && repmgr -f /etc/repmgr.conf primary register >/tmp/repmgr.log 2>&1 || { cat /tmp/repmgr.log >&2; exit 1; }
pgbackrest --stanza=main --log-level-console=error stanza-create`, c.files.Data, c.pgCtl("-s reload")))
}

func (c *copies) repmgrConf(host string, id int) string {
	address := sourceAddress
	for _, h := range c.lab.Hosts() {
		if h.Name == host {
			address = h.Address.String()
		}
	}
	return fmt.Sprintf("node_id=%d\nnode_name=%s\nconninfo='host=%s user=repmgr dbname=repmgr'\ndata_directory='%s'\npg_bindir='%s'\n", id, host, address, c.files.Data, c.files.Bin)
}

// peer is a variant of one command on the peers' target. It must leave a data directory
// that a server would start from, all of it on disk.
func (c *copies) peer(name, command string) variant {
	return variant{name: name, on: theirs, after: c.emptied(theirs), do: func(ctx context.Context) error {
		script := fmt.Sprintf("cd / && { %s; } >/tmp/peer.log 2>&1 && test -s %s/global/pg_control || { tail -n 20 /tmp/peer.log >&2; exit 1; }", command, c.files.Data)
		return c.sh(ctx, theirs, "postgres", script)
	}}
}

func (c *copies) basebackup(name, sslmode string, more ...string) variant {
	return c.peer(name, fmt.Sprintf(`pg_basebackup -D %s -X stream -c fast -d "host=%s user=byhand sslmode=%s" %s`, c.files.Data, sourceAddress, sslmode, strings.Join(more, " ")))
}

func (c *copies) cloned() variant {
	return c.peer(clone, fmt.Sprintf("repmgr -h %s -U repmgr -d repmgr -f /etc/repmgr.conf --force --fast-checkpoint standby clone", sourceAddress))
}

// rsynced is what a user types, with the ciphers that the hosts agree on by themselves.
// rsync leaves the sync to others.
func (c *copies) rsynced() variant {
	return c.peer(naive, fmt.Sprintf("rsync -a -e ssh --exclude='/pg_wal/*' --exclude=/postmaster.pid %s:%s/ %[2]s/ && sync -f %[2]s", sourceAddress, c.files.Data))
}

// restored is from a repository on the source, so over the same link.
func (c *copies) restored() variant {
	v := c.peer(restore, "pgbackrest --stanza=main restore")
	v.after = nil // the old data of --delta
	return v
}

func (c *copies) restoredDelta() variant {
	return c.peer(delta, "pgbackrest --stanza=main --delta restore")
}

// backup puts what the source holds into the repository.
func (c *copies) backup(ctx context.Context, kind string) error {
	return c.sh(ctx, source, "postgres", "cd / && pgbackrest --stanza=main --log-level-console=error --type="+kind+" backup")
}

// streaming is awaited by who made a standby by hand.
const streaming = `until [ "$(psql -XAtqc 'select status from pg_stat_wal_receiver')" = streaming ]; do sleep 0.02; done`

func (c *copies) startedByHand() variant {
	v := c.peer(byHand, fmt.Sprintf(`pg_basebackup -h %s -U byhand -D %s -R -C -S byhand -c fast && %s && %s`, sourceAddress, c.files.Data, c.pgCtl("-s -w start"), streaming))
	v.after = func(ctx context.Context) error {
		if err := c.emptied(theirs)(ctx); err != nil {
			return err
		}
		return c.dropSlot(ctx, "byhand")
	}
	return v
}

func (c *copies) startedByRepmgr() variant {
	return c.peer(cloneRun, fmt.Sprintf(`repmgr -h %s -U repmgr -d repmgr -f /etc/repmgr.conf --force --fast-checkpoint standby clone && %s && repmgr -f /etc/repmgr.conf standby register --force && %s`,
		sourceAddress, c.pgCtl("-s -w start"), streaming))
}
