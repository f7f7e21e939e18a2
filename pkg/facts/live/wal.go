package live

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// WAL reads where the WAL of the server ends, what of it is on disk, and how
// much room there is. It is for a server that runs.
func (g *Gatherer) WAL(ctx context.Context) (facts.WAL, error) {
	sql, err := g.SQL(ctx)
	if err != nil {
		return facts.WAL{}, fmt.Errorf("read WAL of %s: %w", g.h.Name(), err)
	}
	v, err := g.versionOf(ctx, sql, glance)
	if err != nil {
		return facts.WAL{}, fmt.Errorf("read WAL of %s: %w", g.h.Name(), err)
	}
	var rows []struct {
		facts.WAL
		Data string `json:"data_directory"`
	}
	if err := sql.Query(ctx, &rows, walQuery(v)); err != nil {
		return facts.WAL{}, fmt.Errorf("read WAL of %s: %w", g.h.Name(), err)
	}
	if len(rows) != 1 {
		return facts.WAL{}, fmt.Errorf("read WAL of %s: %d rows", g.h.Name(), len(rows))
	}
	out := rows[0].WAL
	space, err := g.Space(ctx, g.inv.Postgres.OSUser, []string{path.Join(rows[0].Data, v.WALDir())})
	if err != nil {
		return facts.WAL{}, fmt.Errorf("look at the WAL directory of %s: %w", g.h.Name(), err)
	}
	out.Space = space[0]
	return out, nil
}

// walQuery selects one row in the form of facts.WAL. Position and clock are of one
// statement, so that two rows give the rate whatever the network does.
func walQuery(v postgres.Version) string {
	here := upTo(v, v.CurrentWALInsert())
	limit, most := "null::int8", "0::int8"
	if name := v.SlotLimitSetting(); name != "" {
		limit = "(select nullif(setting, '-1')::int8 * 1048576 from pg_settings where name = '" + name + "')"
		most = "(select setting::int8 * 1048576 from pg_settings where name = 'max_wal_size')"
	}
	redo := "null::text"
	if v.ControlFunctions() {
		redo = "(select " + v.RedoColumn() + "::text from pg_control_checkpoint())"
	}
	keep := "(select setting::int8 * 1048576 from pg_settings where name = '" + v.KeepWALSetting() + "')"
	if !v.AtLeast(13) { // a number of files
		keep = "(select setting::int8 from pg_settings where name = '" + v.KeepWALSetting() + "') * segment.size"
	}
	columns := []string{
		"extract(epoch from clock_timestamp())::float8 as at",
		"coalesce((" + here + ")::text, '0/0') as lsn",
		redo + " as redo",
		"segment.size as segment_size",
		rows(walFiles(v)) + " as files",
		rows(slots(v, here)) + " as slots",
		limit + " as slot_limit",
		keep + " as keep",
		most + " as max_wal_size",
		"(select setting::float8 from pg_settings where name = 'checkpoint_timeout') as checkpoint_timeout",
		"current_setting('archive_mode') as archive_mode",
		"current_setting('data_directory') as data_directory",
	}
	return "select " + strings.Join(columns, ",\n\t") + "\nfrom (" + segmentSize(v) + ") segment"
}

// segmentSize is in blocks up to 10, where it is the build's, and in bytes since
// 11, where it is initdb's.
func segmentSize(v postgres.Version) string {
	if v.AtLeast(11) {
		return "select setting::int8 as size from pg_settings where name = 'wal_segment_size'"
	}
	return "select setting::int8 * current_setting('block_size')::int8 as size from pg_settings where name = 'wal_segment_size'"
}

// walFiles selects the files without a gap between them as one row. A directory
// of a hundred thousand of them is listed, and none is looked at: they come and
// go.
func walFiles(v postgres.Version) string {
	hex := func(from string) string { return "('x' || substr(name, " + from + ", 8))::bit(32)::int8" }
	return "select timeline, min(n) as first, max(n) as last from (" +
		"select timeline, n, n - row_number() over (partition by timeline order by n) as island from (" +
		"select " + hex("1") + " as timeline, " + hex("9") + " * (4294967296 / segment.size) + " + hex("17") + " as n" +
		" from pg_ls_dir('" + v.WALDir() + "') as name where name ~ '^[0-9A-F]{24}$') f) i" +
		" group by timeline, island order by timeline, first"
}
