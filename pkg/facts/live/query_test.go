package live

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// The catalogs were read off a server of each version. They have the functions
// of replication and backup; the others here are older than 9.4.
func TestQueriesNameOnlyWhatEachVersionHas(t *testing.T) {
	t.Parallel()
	const catalogs = "../../postgres/testdata/catalog"
	found, err := filepath.Glob(filepath.Join(catalogs, "*.functions"))
	if err != nil || len(found) < 12 {
		t.Fatalf("catalogs: %v %v", found, err)
	}
	ancient := []string{"pg_is_in_recovery", "pg_postmaster_start_time", "pg_last_xact_replay_timestamp",
		"pg_tablespace_location", "pg_database_size", "pg_tablespace_size", "pg_ls_dir"}
	// What the catalogs that were read off do not have, and the versions that do.
	since := map[string]postgres.Version{"pg_database_collation_actual_version": postgres.MakeVersion(15), "datcollversion": postgres.MakeVersion(15),
		"datlocprovider": postgres.MakeVersion(15), "collprovider": postgres.MakeVersion(10), "pg_partitioned_table": postgres.MakeVersion(10), "partcollation": postgres.MakeVersion(10)}
	used := map[string]bool{}
	ancientViews := []string{"pg_stat_activity"} // pid, application_name, backend_start: 9.2
	call := regexp.MustCompile(`\b(pg_[a-z_]+)\(`)
	word := regexp.MustCompile(`\b[a-z_]+\b`)
	view := regexp.MustCompile(`(?:from|join) (pg_[a-z_]+)\b[^(]`)
	for _, path := range found {
		name := strings.TrimSuffix(filepath.Base(path), ".functions")
		v, err := postgres.ParseVersion(name)
		if err != nil {
			t.Fatal(err)
		}
		functions := lines(t, path)
		columns := lines(t, strings.TrimSuffix(path, "functions")+"columns")
		queries := []string{stateQuery(v), pulseQuery(v), versionQuery, walQuery(v), sortingQuery(v)}
		if q, ok := v.ConfigErrorsQuery(); ok {
			queries = append(queries, q)
		}
		for _, q := range queries {
			for _, m := range call.FindAllStringSubmatch(q, -1) {
				if !slices.Contains(functions, m[1]) && !slices.Contains(ancient, m[1]) && since[m[1]] == 0 {
					t.Errorf("%s has no function %s", name, m[1])
				}
			}
			for _, w := range word.FindAllString(q, -1) {
				used[w] = true
				if v < since[w] {
					t.Errorf("%s has no %s", name, w)
				}
			}
			for _, m := range view.FindAllStringSubmatch(q, -1) {
				known := slices.ContainsFunc(columns, func(l string) bool { return strings.HasPrefix(l, m[1]+":") })
				if !known && !slices.Contains(ancientViews, m[1]) && strings.HasPrefix(m[1], "pg_stat_") {
					t.Errorf("%s has no view %s", name, m[1])
				}
			}
		}
	}
	for w := range since {
		if !used[w] {
			t.Errorf("no query asks for %s", w)
		}
	}
}

// A standby's own slots follow what it receives: against what it has replayed, they
// would hold less than nothing.
func TestSlotsOfAStandbyAreMeasuredAgainstWhatItReceived(t *testing.T) {
	t.Parallel()
	v := postgres.MakeVersion(15)
	const want = "((case when pg_is_in_recovery() then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) else pg_current_wal_"
	for name, q := range map[string]string{"state": stateQuery(v), "pulse": pulseQuery(v), "wal": walQuery(v)} {
		if i := strings.Index(q, want); i < 0 || !strings.Contains(q[i:], "- s.restart_lsn::pg_lsn)::int8 end as retained_bytes") {
			t.Errorf("%s: %s", name, q)
		}
	}
}

// What is asked of a slot is asked by every query that asks for slots, of every version.
func TestSlotsSayWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"one that is lost keeps nothing":             "case when s.wal_status = 'lost' then null else ((",
		"why it is lost":                             "coalesce(s.invalidation_reason, '') as invalidation_reason",
		"how far its consumer is":                    "s.confirmed_flush_lsn",
		"a primary has no copy of a primary's slots": "s.synced and pg_is_in_recovery() as synced",
	} {
		for _, v := range []postgres.Version{postgres.MakeVersion(9, 4), postgres.MakeVersion(15), postgres.MakeVersion(18)} {
			for query, q := range map[string]string{"state": stateQuery(v), "pulse": pulseQuery(v), "wal": walQuery(v)} {
				if !strings.Contains(q, want) {
					t.Errorf("%s: %s of %s: %s", name, query, v, q)
				}
			}
		}
	}
}

func TestALogicalSlotTellsHowFarItsConsumerIs(t *testing.T) {
	t.Parallel()
	p := newServer(t)
	v, err := postgres.ParseVersion(p.major)
	if err != nil {
		t.Fatal(err)
	}
	p.set("wal_level", "logical")
	p.start()
	g, _ := p.gatherer()
	plugin := "test_decoding"
	if v.AtLeast(10) {
		plugin = "pgoutput"
	}
	g.exec(t, "select pg_create_logical_replication_slot('sub', '"+plugin+"')")
	w, err := g.WAL(contextOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Slots) != 1 || w.Slots[0].RestartLSN == nil || w.Slots[0].InvalidationReason != "" {
		t.Fatalf("%+v", w.Slots)
	}
	if at := w.Slots[0].ConfirmedFlushLSN; (at != nil) != v.AtLeast(9, 6) || at != nil && (*at < *w.Slots[0].RestartLSN || *at > w.LSN) {
		t.Errorf("%+v, and the WAL ends at %s", w.Slots[0], w.LSN)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}
