package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// The data sets. The source holds one of them at a time, in databases whose names
// begin with bench: a seed copies the whole cluster.
const (
	text      = "text"
	relations = "relations"
	large     = "large"
	huge      = "huge"
)

// forLoading: a lab's power is only taken from its processes. Without fsync and with
// few checkpoints the time goes into the data. Nothing but the rows themselves
// may change pages later, so there is no autovacuum.
const forLoading = `alter system set fsync = off; alter system set max_wal_size = '8GB'; alter system set checkpoint_timeout = '1h';
alter system set autovacuum = off; select pg_reload_conf();
select format('drop database %I', datname) from pg_database where datname ~ '^bench' \gexec
`

const loaded = `checkpoint; alter system reset fsync; alter system set max_wal_size = '4GB'; select pg_reload_conf(); checkpoint`

// hold makes a data set on the source, in place of the one that it holds.
func (c *copies) hold(ctx context.Context, set string) error {
	if c.held == set {
		return nil
	}
	began := time.Now()
	if err := c.psql(ctx, source, "postgres", forLoading); err != nil {
		return err
	}
	make := map[string]func(context.Context) error{
		text: c.makeText, relations: c.makeRelations,
		large: func(ctx context.Context) error { return c.makePgbench(ctx, c.sizes.pgbench) },
		huge:  func(ctx context.Context) error { return c.makePgbench(ctx, c.sizes.huge) },
	}
	if err := make[set](ctx); err != nil {
		return err
	}
	if err := c.psql(ctx, source, "postgres", loaded); err != nil {
		return err
	}
	size, err := c.bytes(ctx)
	if err != nil {
		return err
	}
	c.held = set
	fmt.Fprintf(os.Stderr, "data set %s: %d MB in %.0f s\n", set, size/1_000_000, seconds(time.Since(began)))
	return c.sh(ctx, source, "root", "sync -f "+c.files.Data)
}

// bytes of the databases on the source.
func (c *copies) bytes(ctx context.Context) (int64, error) {
	out, err := c.ask(ctx, source, "postgres", "select sum(pg_database_size(oid)) from pg_database")
	if err != nil {
		return 0, err
	}
	var n int64
	_, err = fmt.Sscan(out, &n)
	return n, err
}

func (c *copies) makePgbench(ctx context.Context, scale int) error {
	return c.sh(ctx, source, "postgres", fmt.Sprintf("createdb bench && pgbench -q -i -I dtGvp -s %d bench >/dev/null 2>&1", scale))
}

// makeText: hashes of numbers, which compress 2:1, beside tables of pgbench, which
// compress 23:1. Together 4:1 by zstd at level 1.
func (c *copies) makeText(ctx context.Context) error {
	if err := c.makePgbench(ctx, c.sizes.text); err != nil {
		return err
	}
	return c.psql(ctx, source, "bench", fmt.Sprintf(
		`create table hashes as select i, md5(i::text) a, md5((-i)::text) b from generate_series(1, %d) i; vacuum freeze hashes`, c.sizes.text*190_000))
}

// makeRelations: tables of one row in one database, and as many copies of it as are
// needed, which is much faster than as many statements.
func (c *copies) makeRelations(ctx context.Context) error {
	const each, locked = 5000, 500
	sql := "create database bench0;\n\\c bench0\n"
	for n := 0; n < each; n += locked {
		sql += fmt.Sprintf("do $$ begin for i in %d .. %d loop execute format('create table t%%s as select 1 as i', i); end loop; end $$;\n", n, n+locked-1)
	}
	sql += "\\c postgres\n"
	for i := 1; i < c.sizes.tables/each; i++ {
		sql += fmt.Sprintf("create database bench%d template bench0 strategy file_copy;\n", i)
	}
	return c.psql(ctx, source, "postgres", sql)
}

// change makes one block of a hundred another one, here and there, and returns how many per
// cent they are: after a checkpoint the WAL has the whole of each page that is
// changed, once. In the end the WAL of the change is gone.
func (c *copies) change(ctx context.Context) (float64, error) {
	if err := c.psql(ctx, source, "postgres", "checkpoint; select pg_stat_reset_shared('wal')"); err != nil {
		return 0, err
	}
	// Each update changes two blocks, of the table and of its index. Of a script of one's own pgbench knows no scale.
	script := fmt.Sprintf(`printf '\\set a random(1, 100000 * :scale)\nupdate pgbench_accounts set abalance = abalance + 1 where aid = :a;\n' >/tmp/change.sql
PGOPTIONS='-c synchronous_commit=off' pgbench -n -s %d -c 2 -t %d -f /tmp/change.sql bench >/dev/null 2>&1`, c.sizes.pgbench, c.sizes.pgbench*5)
	if err := c.sh(ctx, source, "postgres", script); err != nil {
		return 0, err
	}
	out, err := c.ask(ctx, source, "postgres", "checkpoint; do 'begin perform pg_switch_wal(); end'; checkpoint; do 'begin perform pg_sleep(1); end'; select 100.0 * wal_fpi * current_setting('block_size')::int / (select sum(pg_database_size(oid)) from pg_database) from pg_stat_wal")
	if err != nil {
		return 0, err
	}
	var percent float64
	_, err = fmt.Sscan(out, &percent)
	return percent, err
}
