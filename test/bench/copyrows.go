package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// bootstrapped by the tool, then taken back.
func (c *copies) bootstrapped(name string, flags ...string) variant {
	r := &runReport{}
	return variant{name: name, on: ours, do: c.tool(r, append([]string{"standby", "bootstrap", ours}, flags...)...), after: c.undone(r)}
}

// empty: what everything costs but the bytes.
func (c *copies) empty(ctx context.Context) error {
	r := c.row("An empty cluster, until the standby streams")
	for n := range c.rounds {
		list := []variant{c.startedByHand(), c.startedByRepmgr(), c.bootstrapped(toolFresh)}
		for i := range list {
			list[i].after = c.kept(fmt.Sprintf("%d-%d", n, i), list[i])
		}
		if err := c.round(ctx, r, n, list); err != nil {
			return err
		}
	}
	c.report.AtMost("empty cluster to streaming / pg_basebackup and start by hand", r.ratio(toolFresh, byHand, took), "x", 1.5)
	c.report.Note("the same / repmgr clone, start and register", r.ratio(toolFresh, cloneRun, took), "x")
	return nil
}

// kept is what comes after a variant, but its files stay, under other names. ext4 leaves inodes
// alone for five minutes after their file was removed, and searches for others:
// a target that was emptied a moment ago is slower to fill, by a second for a
// thousand files, and no user's is.
func (c *copies) kept(name string, v variant) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.sh(ctx, v.on, "root", fmt.Sprintf("cp -al %s %s/kept-%s", c.files.Data, filepath.Dir(c.files.Data), name)); err != nil {
			return err
		}
		return v.after(ctx)
	}
}

const gigabit = "1gbit"

// overLink limits the network of the source while do runs.
func (c *copies) overLink(ctx context.Context, do func() error) error {
	if err := c.lab.Slow(ctx, source, gigabit); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return c.lab.Slow(ctx, source, "")
}

// text: data that compresses 4:1, over 1 Gbit/s.
func (c *copies) text(ctx context.Context) error {
	if err := c.hold(ctx, text); err != nil {
		return err
	}
	r := c.row("Data that compresses 4:1, over 1 Gbit/s")
	for n := range c.rounds {
		err := c.overLink(ctx, func() error {
			return c.round(ctx, r, n, []variant{c.basebackup(plain, "disable"), c.basebackup(serverZ, "require", "--compress=server-zstd:1"),
				c.bootstrapped(tool, "--compress", "none"), c.bootstrapped(toolAuto, "--compress", "auto")})
		})
		if err != nil {
			return err
		}
	}
	c.report.AtMost("1 Gbit/s, 4:1 data: --compress auto / pg_basebackup", r.ratio(toolAuto, plain, took), "x", 0.70)
	c.report.Note("1 Gbit/s, 4:1 data: --compress none / pg_basebackup", r.ratio(tool, plain, took), "x")
	c.report.Note("1 Gbit/s, 4:1 data: --compress auto / pg_basebackup server-zstd:1", r.ratio(toolAuto, serverZ, took), "x")
	return nil
}

// seed: all ways to copy the large set as fast as this machine can, then a copy that
// breaks, and one that only needs what has changed.
func (c *copies) seed(ctx context.Context) error {
	if err := c.hold(ctx, large); err != nil {
		return err
	}
	if err := c.backup(ctx, "full"); err != nil {
		return err
	}
	full := c.row("A full seed, the network unlimited")
	re := c.row("A seed again after a change, the network unlimited")
	var again, changed []float64
	for n := range c.rounds {
		if err := c.round(ctx, full, n, []variant{c.basebackup(plain, "disable"), c.basebackup(tls, "require"), c.cloned(), c.rsynced(),
			c.bootstrapped(tool, "--compress", "none"), c.bootstrapped(toolAuto, "--compress", "auto")}); err != nil {
			return err
		}
		if err := c.round(ctx, full, 0, []variant{c.restored()}); err != nil {
			return err
		}
		whole := full.costs[tool][n].wire
		share, err := c.resumes(ctx, full, whole)
		if err != nil {
			return err
		}
		again = append(again, share)
		percent, err := c.reseeds(ctx, re)
		if err != nil {
			return err
		}
		changed = append(changed, percent)
		if err := c.backup(ctx, "incr"); err != nil {
			return err
		}
		if err := c.round(ctx, re, 0, []variant{c.restoredDelta()}); err != nil {
			return err
		}
		if n == c.rounds-1 {
			if err := c.equal(ctx, "after a seed that was broken off and a seed again"); err != nil {
				return err
			}
		}
		if err := c.cleared(ctx); err != nil {
			return err
		}
	}
	c.report.AtMost("full seed, --compress none / repmgr standby clone", full.ratio(tool, clone, took), "x", 1.10)
	c.report.AtLeast("full seed, rsync -a -e ssh / --compress none", full.ratio(naive, tool, took), "x", 1.7)
	c.report.AtMost("full seed, --compress auto / repmgr standby clone", full.ratio(toolAuto, clone, took), "x", 0.85)
	c.report.AtMost("broken off at 90 %: bytes sent again", median(again), "%", 3)
	c.report.AtMost("broken off at 90 %: time of its resume / of a full seed", full.ratio(resumed, tool, took), "x", 0.4)
	c.report.Note("seed again: blocks that had changed", median(changed), "%")
	c.report.AtLeast("seed again: repmgr standby clone / standby reseed", paired(full.costs[clone], re.costs[reseeded], took), "x", 1.6)
	c.report.AtLeast("seed again: bytes of repmgr standby clone / of the copy of standby reseed", paired(full.costs[clone], re.costs[reseeded], copied), "x", 80)
	c.report.Note("the same with the WAL that it streams afterwards", paired(full.costs[clone], re.costs[reseeded], wire), "x")
	c.report.Note("seed again: pgbackrest restore --delta / standby reseed", paired(re.costs[delta], re.costs[reseeded], took), "x")
	return nil
}

// resumes breaks a seed off when nine tenths of the bytes have come, and has it go on. It
// returns how many per cent of a whole seed came twice.
func (c *copies) resumes(ctx context.Context, r *row, whole float64) (float64, error) {
	before, err := c.received(ctx, ours)
	if err != nil {
		return 0, err
	}
	if err := c.broken(ctx, int64(0.9*whole), "standby", "bootstrap", ours, "--yes", "-q", "--compress", "none"); err != nil {
		return 0, err
	}
	run, err := c.lastRun(ctx)
	if err != nil {
		return 0, err
	}
	if err := c.round(ctx, r, 0, []variant{{name: resumed, on: ours, do: c.tool(&runReport{}, "runs", "resume", run)}}); err != nil {
		return 0, err
	}
	after, err := c.received(ctx, ours)
	return 100 * (float64(after-before)/whole - 1), err
}

// reseeds has the standby of the tool fall behind for ever, and be mended. It returns
// how many per cent of the blocks had changed.
func (c *copies) reseeds(ctx context.Context, r *row) (float64, error) {
	if err := c.stale(ctx); err != nil {
		return 0, err
	}
	percent, err := c.change(ctx)
	if err != nil {
		return 0, err
	}
	if err := c.round(ctx, r, 0, []variant{{name: reseeded, on: ours, do: c.tool(&runReport{}, "standby", "reseed", ours)}}); err != nil {
		return 0, err
	}
	// A backup ends with a new WAL file, so the standby fetches a whole one, most of it zeros.
	out, err := c.ask(ctx, ours, "postgres", "select pg_wal_lsn_diff(written_lsn, receive_start_lsn) from pg_stat_wal_receiver")
	if err != nil {
		return 0, err
	}
	all := r.costs[reseeded]
	_, err = fmt.Sscan(out, &all[len(all)-1].wal)
	return percent, err
}

// link: the large set over 1 Gbit/s.
func (c *copies) link(ctx context.Context) error {
	if err := c.hold(ctx, large); err != nil {
		return err
	}
	full, re := c.row("A full seed over 1 Gbit/s"), c.row("A seed again after a change, over 1 Gbit/s")
	for n := range c.rounds {
		kept := c.bootstrapped(tool, "--compress", "none")
		kept.after = nil
		err := c.overLink(ctx, func() error {
			if err := c.round(ctx, full, n, []variant{c.basebackup(plain, "disable"), c.cloned(), kept}); err != nil {
				return err
			}
			_, err := c.reseeds(ctx, re)
			return err
		})
		if err != nil {
			return err
		}
		if err := c.cleared(ctx); err != nil {
			return err
		}
	}
	c.report.AtMost("1 Gbit/s: full seed, --compress none / pg_basebackup", full.ratio(tool, plain, took), "x", 1.05)
	c.report.AtLeast("1 Gbit/s: repmgr standby clone / standby reseed", paired(full.costs[clone], re.costs[reseeded], took), "x", 5)
	return nil
}

// manyFiles: small relations, and one file beyond what 32 bits count.
func (c *copies) manyFiles(ctx context.Context) error {
	if err := c.hold(ctx, relations); err != nil {
		return err
	}
	// The copy takes every file of the data directory, whoever made it.
	file := c.files.Data + "/foreign"
	if err := c.sh(ctx, source, "postgres", "openssl enc -aes-128-ctr -pass pass:a -nosalt </dev/zero 2>/dev/null | head -c 2200000000 >"+file); err != nil {
		return err
	}
	r := c.row(fmt.Sprintf("%d small relations, and a file of 2.2 GB (one round)", c.sizes.tables))
	report := &runReport{}
	others := c.peak
	c.peak = 0
	v := variant{name: toolFresh, on: ours, do: c.tool(report, "standby", "bootstrap", ours), after: func(ctx context.Context) error {
		for _, argv := range [][]string{{"sha1sum", file}, {"sh", "-c", relationSums, "sh", c.files.Data}} {
			if err := c.same(ctx, argv); err != nil {
				return err
			}
		}
		return c.undone(report)(ctx)
	}}
	if err := c.round(ctx, r, 0, []variant{v, c.basebackup(plain, "disable")}); err != nil {
		return err
	}
	c.report.AtMost(fmt.Sprintf("%d small relations: peak memory of the tool", c.sizes.tables), float64(c.peak)/(1<<20), "MiB", 128)
	c.peak = others
	c.report.Note(fmt.Sprintf("%d small relations: standby bootstrap / pg_basebackup", c.sizes.tables), r.ratio(toolFresh, plain, took), "x")
	return c.sh(ctx, source, "postgres", "rm "+file)
}

// relationSums is of the databases that only have the many tables: nobody logs in to them,
// so their files stay as they were at the backup's checkpoint.
const relationSums = `cd "$1/base" && for d in *; do [ "$(ls "$d" | wc -l)" -lt 4000 ] || find "$d" -type f ! -name pg_internal.init; done | sort | xargs sha1sum | sha1sum`

// same compares what a command prints on the source and on the tool's target.
func (c *copies) same(ctx context.Context, argv []string) error {
	a, err := c.lab.Exec(ctx, source, argv, "")
	if err != nil {
		return err
	}
	b, err := c.lab.Exec(ctx, ours, argv, "")
	if err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("%v: %s has %q, %s has %q", argv, source, a, ours, b)
	}
	return nil
}
