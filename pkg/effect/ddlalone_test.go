package effect_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

const (
	makeIndex = "create index concurrently i on items (a)"
	dropIndex = "drop index concurrently i"
	detach    = "alter table p detach partition c concurrently"

	// madeIndex, droppedIndex and detached are what is noted before those.
	madeIndex    = `{"kind":"index-made","of":16400,"name":"i","subject":"i","owner":"public.items"}`
	droppedIndex = `{"kind":"index-dropped","oid":16500,"subject":"public.i","before":{"oid":16500,"whole":true}}`
	detached     = `{"kind":"partition-detached","oid":16600,"of":16601,"subject":"public.c","owner":"public.p","before":{"oid":16600,"whole":true}}`
	finalize     = "ALTER TABLE public.p DETACH PARTITION public.c FINALIZE"
)

func newLone(statement string) *effect.LoneDDL {
	// Before 12 nobody looks how far it is.
	return &effect.LoneDDL{Host: "pg1", Database: "shop", Version: postgres.MakeVersion(11), Statement: statement}
}

// newDetach needs 14.
func newDetach() *effect.LoneDDL {
	e := newLone(detach)
	e.Version = postgres.MakeVersion(14)
	return e
}

func query(sql, rows string) hosttest.Call { return hosttest.Call{Do: "query " + sql, Out: rows} }

// asSession is the session before the statement.
func asSession() []hosttest.Call {
	return []hosttest.Call{exec("SET lock_timeout = 0"), exec("SET statement_timeout = 0"), exec("SET standard_conforming_strings = on")}
}

// relation is what a name means, and catalogs what they have of it.
func relation(name, rows string) hosttest.Call {
	return query("select c.oid::int8 as oid, format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass('"+name+"')::oid", rows)
}

func indexOnItems(rows string) hosttest.Call {
	return query("select c.oid::int8 as oid, i.indisvalid as whole from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = 16400 and c.relname = 'i'", rows)
}

func theIndex(rows string) hosttest.Call {
	return query("select indexrelid::int8 as oid, indisvalid as whole from pg_index where indexrelid = 16500", rows)
}

func thePartition(rows string) hosttest.Call {
	return query("select inhrelid::int8 as oid, not inhdetachpending as whole from pg_inherits where inhparent = 16601 and inhrelid = 16600", rows)
}

func invalid(rows string) hosttest.Call {
	return query("select i.indexrelid::int8 as oid, quote_ident(n.nspname)…", rows)
}

func waited() hosttest.Call {
	return query("select pid::text as what from pg_stat_activity…", noRows)
}

func ended() hosttest.Call {
	return query("select pg_terminate_backend(pid)::text as what from pg_stat_activity…", noRows)
}

const (
	theItems     = `[{"oid": 16400, "name": "public.items"}]`
	aWhole       = `[{"oid": 16500, "whole": true}]`
	aHalf        = `[{"oid": 16500, "whole": false}]`
	invalidIndex = `[{"oid": 16500, "name": "public.i", "indrelid": 16400}]`
)

// makes is the statement for the first time.
func makes() []hosttest.Call {
	return append(asSession(), relation("items", theItems), indexOnItems(noRows), invalid(noRows), exec(makeIndex))
}

func refusedWith(sql, code string) hosttest.Call {
	c := exec(sql)
	c.Err = &host.SQLError{Code: code, Message: "no"}
	return c
}

func TestWhatIsThereIsNotedBeforeAStatementOfItsOwn(t *testing.T) {
	t.Parallel()
	var in *env
	calls := makes()
	calls[len(calls)-1].Then = func() {
		if v, ok := in.known[effect.DDLInvalid]; in.known[effect.DDLTrace] != madeIndex || v != "" || !ok {
			t.Errorf("noted before: %v", in.known)
		}
	}
	in = onPG1(t, connected(), calls, flushedAt("0/5000100"), closed())
	if out := do(t, newLone(makeIndex), in); out[effect.DDLPosition] != "0/5000100" {
		t.Errorf("%v", out)
	}
}

func TestAnIndexWithoutANameIsNotBegun(t *testing.T) {
	t.Parallel()
	in := onPG1(t, connected(), asSession(), closed())
	_, err := newLone("create index concurrently on items (a)").Do(t.Context(), in)
	if !errors.Is(err, effect.ErrUntouched) || fault.ClassOf(err) != fault.Refused || !strings.Contains(err.Error(), "without a name") {
		t.Errorf("got %v", err)
	}
}

// again is a run that goes on after its tool died at the statement.
func again(t *testing.T, trace string, calls ...[]hosttest.Call) *env {
	t.Helper()
	in := onPG1(t, slices.Concat(calls...))
	in.known = effect.Output{effect.DDLInvalid: "9", effect.DDLTrace: trace}
	return in
}

func TestWhatTheServerHasEndedIsNotRunTwice(t *testing.T) {
	t.Parallel()
	end := slices.Concat(flushedAt("0/5000100"), closed())
	for name, c := range map[string]struct {
		e     *effect.LoneDDL
		trace string
		found hosttest.Call
	}{
		"an index is made":          {newLone(makeIndex), madeIndex, indexOnItems(aWhole)},
		"an index is dropped":       {newLone(dropIndex), droppedIndex, theIndex(noRows)},
		"a partition is detached":   {newDetach(), detached, thePartition(noRows)},
		"a value is added":          {newLone("alter type mood add value 'sad'"), `{"kind":"value-added","of":16700,"name":"sad"}`, query("select oid::int8 as oid, true as whole from pg_enum where enumtypid = 16700 and enumlabel = 'sad'", aWhole)},
		"another one was of a name": {newLone(makeIndex), strings.Replace(madeIndex, `}`, `,"before":{"oid":7,"whole":true}}`, 1), indexOnItems(aWhole)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := do(t, c.e, again(t, c.trace, connected(), []hosttest.Call{waited(), c.found}, end)); out[effect.DDLPosition] != "0/5000100" {
				t.Errorf("%v", out)
			}
		})
	}
}

func TestAHalfMadeIndexIsDroppedAndMadeAnew(t *testing.T) {
	t.Parallel()
	in := again(t, madeIndex, connected(), []hosttest.Call{waited(), indexOnItems(aHalf), invalid(invalidIndex), exec("SET lock_timeout = '1s'"), exec("DROP INDEX CONCURRENTLY IF EXISTS public.i")},
		makes(), flushedAt("0/5000100"), closed())
	do(t, newLone(makeIndex), in)
}

// The first try died before the server had the statement: the error is the user's.
func TestAnErrorOfASecondTryIsAnError(t *testing.T) {
	t.Parallel()
	const missing = "drop index concurrently missing"
	for name, c := range map[string]struct {
		statement, trace string
		before, then     []hosttest.Call
		refused          hosttest.Call
	}{
		"an index of that name is there": {makeIndex, strings.Replace(madeIndex, `}`, `,"before":{"oid":16500,"whole":true}}`, 1), []hosttest.Call{indexOnItems(aWhole)},
			[]hosttest.Call{relation("items", theItems), indexOnItems(aWhole)}, refusedWith(makeIndex, "42P07")},
		"there is no such index": {missing, `{"kind":"index-dropped","subject":"missing"}`, []hosttest.Call{query("select indexrelid::int8…", noRows)},
			[]hosttest.Call{relation("missing", noRows), query("select indexrelid::int8…", noRows)}, refusedWith(missing, "42704")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := again(t, c.trace, connected(), []hosttest.Call{waited()}, c.before, []hosttest.Call{invalid(noRows), exec("SET lock_timeout = '1s'")},
				asSession(), c.then, []hosttest.Call{invalid(noRows), c.refused},
				connected(), []hosttest.Call{ended()}, c.before, []hosttest.Call{invalid(noRows), exec("SET lock_timeout = '1s'")}, closed(), closed())
			if _, err := newLone(c.statement).Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestADetachThatIsPendingIsFinalized(t *testing.T) {
	t.Parallel()
	in := again(t, detached, connected(), []hosttest.Call{waited(), thePartition(`[{"oid": 16600, "whole": false}]`), invalid(noRows), exec("SET lock_timeout = '1s'")},
		asSession(), []hosttest.Call{exec(finalize)}, flushedAt("0/5000100"), closed())
	do(t, newDetach(), in)
	if in.known[effect.DDLTrace] != detached {
		t.Errorf("noted anew: %v", in.known)
	}
}

func TestAHalfDroppedIndexIsDroppedByTheStatement(t *testing.T) {
	t.Parallel()
	in := again(t, droppedIndex, connected(), []hosttest.Call{waited(), theIndex(aHalf), invalid(invalidIndex), exec("SET lock_timeout = '1s'")},
		asSession(), []hosttest.Call{exec("DROP INDEX CONCURRENTLY public.i")}, flushedAt("0/5000100"), closed())
	do(t, newLone(dropIndex), in)
}

// The statement may have been written as the rest of it is.
func TestWhatIsDroppedByHalfStaysSoWhenTheRestFails(t *testing.T) {
	t.Parallel()
	const rest = "DROP INDEX CONCURRENTLY public.i"
	half := []hosttest.Call{waited(), theIndex(aHalf), invalid(invalidIndex), exec("SET lock_timeout = '1s'")}
	for name, calls := range map[string][][]hosttest.Call{
		"the statement": {asSession(), {refusedWith(rest, "57014")}, connected(), {ended(), theIndex(aHalf)}, closed(), closed()},
		"before it":     {{refusedWith("SET lock_timeout = 0", "57P01")}, closed()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := again(t, droppedIndex, append([][]hosttest.Call{connected(), half}, calls...)...)
			if _, err := newLone(rest).Do(t.Context(), in); err == nil || errors.Is(err, effect.ErrUntouched) || strings.Contains(err.Error(), "it left nothing") {
				t.Errorf("got %v", err)
			}
			if in.known[effect.DDLTrace] != droppedIndex {
				t.Errorf("noted anew: %v", in.known)
			}
			in.hosts["pg1"] = onPG1(t, connected(), []hosttest.Call{ended(), theIndex(aHalf)}, closed()).hosts["pg1"]
			if _, err := newLone(rest).Inverse().Do(t.Context(), in); !errors.Is(err, effect.ErrHappened) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOfAnEarlierTryNothingIsSaidBeforeItIsLookedAt(t *testing.T) {
	t.Parallel()
	gone := hosttest.Call{Do: "connect", Err: errors.New("no route")}
	if _, err := newLone(dropIndex).Do(t.Context(), again(t, droppedIndex, []hosttest.Call{gone})); err == nil || errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
	if _, err := newLone(dropIndex).Do(t.Context(), onPG1(t, []hosttest.Call{gone})); !errors.Is(err, effect.ErrUntouched) {
		t.Errorf("got %v", err)
	}
}

// failsAt is a statement that is taken away by half when its session is lost.
func failsAt(statement string, before, then []hosttest.Call) [][]hosttest.Call {
	lost := exec(statement)
	lost.Err = errors.New("the connection is lost")
	return [][]hosttest.Call{connected(), asSession(), before, {invalid(noRows), lost}, connected(), {ended()}, then, closed(), closed()}
}

func TestAFailureSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e         *effect.LoneDDL
		calls     [][]hosttest.Call
		untouched bool
		says      []string
	}{
		"an index is made by half": {newLone(makeIndex), failsAt(makeIndex, []hosttest.Call{relation("items", theItems), indexOnItems(noRows)},
			[]hosttest.Call{indexOnItems(aHalf), invalid(invalidIndex), exec("SET lock_timeout = '1s'"), exec("DROP INDEX CONCURRENTLY IF EXISTS public.i")}), true, []string{"what it left half made is dropped: public.i"}},
		"an index is dropped by half": {newLone(dropIndex), failsAt(dropIndex, []hosttest.Call{relation("i", `[{"oid": 16500, "name": "public.i"}]`), theIndex(aWhole)},
			[]hosttest.Call{theIndex(aHalf)}), false, []string{"index public.i is dropped by half", "pgrepctl ddl resume run1", "in database shop: DROP INDEX CONCURRENTLY public.i"}},
		"a partition is detached by half": {newDetach(), failsAt(detach, []hosttest.Call{relation("c", `[{"oid": 16600, "name": "public.c"}]`), relation("p", `[{"oid": 16601, "name": "public.p"}]`), thePartition(`[{"oid": 16600, "whole": true}]`)},
			[]hosttest.Call{thePartition(`[{"oid": 16600, "whole": false}]`)}), false, []string{"(detach pending)", "pgrepctl ddl resume run1", finalize}},
		"it was pending before": {newDetach(), failsAt(detach, []hosttest.Call{relation("c", `[{"oid": 16600, "name": "public.c"}]`), relation("p", `[{"oid": 16601, "name": "public.p"}]`), thePartition(`[{"oid": 16600, "whole": false}]`)},
			[]hosttest.Call{thePartition(`[{"oid": 16600, "whole": false}]`), invalid(noRows), exec("SET lock_timeout = '1s'")}), true, []string{"it left nothing", finalize}},
		"nothing has happened": {newLone(dropIndex), failsAt(dropIndex, []hosttest.Call{relation("i", `[{"oid": 16500, "name": "public.i"}]`), theIndex(aWhole)},
			[]hosttest.Call{theIndex(aWhole), invalid(noRows), exec("SET lock_timeout = '1s'")}), true, []string{"it left nothing"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := c.e.Do(t.Context(), onPG1(t, c.calls...))
			var f *fault.Error
			if !errors.As(err, &f) || errors.Is(err, effect.ErrUntouched) != c.untouched {
				t.Fatalf("got %v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(f.State+"\n"+f.Hint, s) {
					t.Errorf("%q, %q: no %q", f.State, f.Hint, s)
				}
			}
		})
	}
}

func TestAStatementWhoseAnswerIsLostMayHaveHappened(t *testing.T) {
	t.Parallel()
	lost := makes()
	lost[len(lost)-1].Err = errors.New("the connection is lost")
	in := onPG1(t, connected(), lost, connected(), []hosttest.Call{ended(), indexOnItems(aWhole)}, flushedAt("0/5000100"), closed(), closed())
	if out := do(t, newLone(makeIndex), in); out[effect.DDLPosition] != "0/5000100" {
		t.Errorf("%v", out)
	}
}

func TestWhatHasHappenedAllTheSameIsNotCalledUndone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		e     *effect.LoneDDL
		trace string
		found hosttest.Call
		says  string
	}{
		"an index is made":                {newLone(makeIndex), madeIndex, indexOnItems(aWhole), "index i of public.items is made"},
		"an index is dropped":             {newLone(dropIndex), droppedIndex, theIndex(noRows), "index public.i is dropped:"},
		"an index is dropped by half":     {newLone(dropIndex), droppedIndex, theIndex(aHalf), "dropped by half"},
		"a partition is detached":         {newDetach(), detached, thePartition(noRows), "partition public.c of public.p is detached:"},
		"a partition is detached by half": {newDetach(), detached, thePartition(`[{"oid": 16600, "whole": false}]`), "detach pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := again(t, c.trace, connected(), []hosttest.Call{ended(), c.found}, closed())
			_, err := c.e.Inverse().Do(t.Context(), in)
			var f *fault.Error
			if !errors.Is(err, effect.ErrHappened) || !strings.Contains(err.Error(), c.says) || !errors.As(err, &f) || !strings.Contains(f.Hint, "pgrepctl ddl resume run1") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAHalfMadeIndexIsTakenBack(t *testing.T) {
	t.Parallel()
	do(t, newLone(makeIndex).Inverse(), again(t, madeIndex, connected(), []hosttest.Call{ended(), indexOnItems(aHalf), invalid(invalidIndex), exec("SET lock_timeout = '1s'"),
		exec("DROP INDEX CONCURRENTLY IF EXISTS public.i")}, closed()))
	// What was invalid before is somebody else's.
	do(t, newLone("reindex table concurrently items").Inverse(), again(t, "", connected(), []hosttest.Call{ended(), invalid(`[{"oid": 9, "name": "public.x", "indrelid": 1}]`), exec("SET lock_timeout = '1s'")}, closed()))
	do(t, newLone(makeIndex).Inverse(), onPG1(t)) // it was not begun
}

// TestASessionThatDoesNotEndIsToldOf: it waits for a disk, say. A run that is taken back, and an
// operator, do not wait for it for ever.
func TestASessionThatDoesNotEndIsToldOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := query("select pg_terminate_backend(pid)::text as what from pg_stat_activity…", `[{"what": "true"}]`)
		asked := slices.Repeat([]hosttest.Call{busy}, 100)
		asked[0].Then = func() { time.Sleep(100 * time.Millisecond) } // so that none is asked when the time is over
		in := again(t, madeIndex, connected(), asked, closed())
		_, err := newLone(makeIndex).Inverse().Do(t.Context(), in)
		var f *fault.Error
		if !errors.As(err, &f) || err.Error() != "pg1: end the sessions of run run1 in database shop: 1 of them still run after 20s" || !strings.HasSuffix(f.Hint, "pgrepctl ddl abort run1") {
			t.Errorf("got %v", err)
		}
	})
}

// TestWhoGoesOnWaitsForTheStatementOfAnEarlierTry for as long as that takes, or until he is stopped.
func TestWhoGoesOnWaitsForTheStatementOfAnEarlierTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		busy := query("select pid::text as what from pg_stat_activity…", `[{"what": "4711"}]`)
		stopped := errors.New("stopped by the operator")
		ctx, cancel := context.WithCancelCause(t.Context())
		hours := slices.Repeat([]hosttest.Call{busy}, 2*3600*5)
		hours[len(hours)-1].Then = func() { cancel(stopped) }
		if _, err := newLone(makeIndex).Do(ctx, again(t, madeIndex, connected(), hours, closed())); !errors.Is(err, stopped) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheInverseOfAStatementThatTakesAwaySaysSo(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{makeIndex: "drop the invalid indexes that the DDL left (in database shop)", dropIndex: "check that the DDL has taken nothing away (in database shop)"} {
		raw, err := effect.Encode(newLone(statement).Inverse())
		if err != nil {
			t.Fatal(err)
		}
		back, err := effect.Decode(raw)
		if err != nil || back.Describe().String() != want {
			t.Errorf("%v, %v", back, err)
		}
	}
}
