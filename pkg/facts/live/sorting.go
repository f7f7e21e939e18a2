package live

import (
	"context"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

var _ facts.Sorter = (*Gatherer)(nil)

// Sorting asks once more when a database went away meanwhile.
func (g *Gatherer) Sorting(ctx context.Context) (facts.Sorting, error) {
	var rows []facts.Sorting
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		err := sql.Query(ctx, &rows, sortingQuery(v))
		if host.SQLState(err) == postgres.UndefinedObject { // dropped while the query read the others
			return sql.Query(ctx, &rows, sortingQuery(v))
		}
		return err
	})
	if err != nil {
		return facts.Sorting{}, err
	}
	if len(rows) != 1 {
		return facts.Sorting{}, fmt.Errorf("query collations: %d rows", len(rows))
	}
	return rows[0], nil
}

// sortingQuery selects one row in the form of facts.Sorting.
func sortingQuery(v postgres.Version) string {
	return "select " + icu(v) + " as icu,\n\t" + rows(locales) + " as locales,\n\t" + collations(v) + " as collations"
}

// icu looks at the provider of all databases, and at what is sorted by a collation of
// ICU in the one of the session: the catalogs of the others would cost a session each.
// The columns of indexes are in pg_attribute too. pg_depend would not do: nothing in
// it depends on a collation that initdb makes, as unicode since 16.
func icu(v postgres.Version) string {
	if !v.AtLeast(10) {
		return "false"
	}
	used := "exists (select from pg_collation c where c.collprovider = 'i' and (" +
		"c.oid in (select attcollation from pg_attribute where not attisdropped)" +
		" or c.oid in (select unnest(partcollation::oid[]) from pg_partitioned_table)" +
		" or c.oid in (select rngcollation from pg_range)))"
	if v.AtLeast(15) {
		used = "(exists (select from pg_database where datlocprovider = 'i') or " + used + ")"
	}
	return used
}

// Whatever sorts its text, a database accepts no session where the C library does not
// know its locales.
const locales = `select l as name, min(datname::text) as database from pg_database
	cross join lateral unnest(array[datcollate::text, datctype::text]) l where datallowconn group by l order by l`

// collations compares what a database was made with, or was last refreshed for, with
// what the server sorts by.
func collations(v postgres.Version) string {
	if !v.AtLeast(15) {
		return "'[]'::json"
	}
	return rows("select recorded, actual, array_agg(name order by name) as databases from (" +
		"select datname::text as name, datcollversion as recorded, pg_database_collation_actual_version(oid) as actual" +
		" from pg_database where datallowconn and datcollversion is not null) d where actual <> recorded group by recorded, actual order by recorded, actual")
}
