package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// comparison is the calls of a level hashes on one database.
type comparison struct {
	v                postgres.Version
	primary, standby []hosttest.Call
}

func query(q string) string { return "query " + q }

func compareTables(v postgres.Version, tables string) *comparison {
	c := &comparison{v: v}
	c.primary = []hosttest.Call{
		{Do: "connect"}, {Do: "query select datname…", Out: `[{"name":"shop"},{"name":"template1","template":true}]`}, {Do: "close"},
		{Do: "connect"}, {Do: "exec " + strings.Join(v.TextSettings(), "; ")},
		{Do: "connect"}, {Do: "exec SET synchronous_commit = local"},
		{Do: "query select n.nspname…", Out: tables},
	}
	c.standby = []hosttest.Call{{Do: "connect"}, {Do: "exec " + strings.Join(v.TextSettings(), "; ")}}
	return c
}

func (c *comparison) on1(calls ...hosttest.Call) *comparison {
	c.primary = append(c.primary, calls...)
	return c
}

func (c *comparison) on2(calls ...hosttest.Call) *comparison {
	c.standby = append(c.standby, calls...)
	return c
}

func (c *comparison) mark(lsn string) *comparison {
	return c.on1(hosttest.Call{Do: query("select " + c.v.CurrentWALInsert() + " as lsn"), Out: `[{"lsn":"` + lsn + `"}]`}, hosttest.Call{Do: "exec " + c.v.FlushWAL()})
}

func (c *comparison) replayed(lsn string) *comparison {
	return c.on2(hosttest.Call{Do: query(positionQuery(c.v)), Out: `[{"receive":"0/9000","replay":"` + lsn + `","paused":false}]`})
}

// locking is the beginning of a table's comparison.
func (c *comparison) locking(table string, err error) *comparison {
	c.mark("0/1000").replayed("0/1000")
	limits := "SET LOCAL lock_timeout = '2000ms'; SET LOCAL statement_timeout = '32000ms'; "
	if c.v.AtLeast(9, 6) {
		limits += "SET LOCAL idle_in_transaction_session_timeout = '32000ms'; "
	}
	return c.on1(hosttest.Call{Do: "exec BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; " + limits + "LOCK TABLE ONLY " + table + " IN SHARE MODE", Err: err})
}

func (c *comparison) hash(err error, row string) hosttest.Call {
	return hosttest.Call{Do: "query select count(*) as rows, coalesce(sum(('x' || substr(m, 1, 16))::bit(64)::bigint), 0)…", Out: row, Err: err}
}

func (c *comparison) release() *comparison { return c.on1(hosttest.Call{Do: "exec ROLLBACK"}) }

func (c *comparison) run(t *testing.T, b Bounds) Report {
	t.Helper()
	c.on1(hosttest.Call{Do: "close"}, hosttest.Call{Do: "close"}).on2(hosttest.Call{Do: "close"})
	r, err := Run(t.Context(), scripts(t, c.primary, c.standby), subject(c.v), []Level{Hashes}, nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	items    = `[{"schema":"s","name":"items"}]`
	itemsQ   = `"s"."items"`
	threeA   = `[{"rows":3,"hash":"1:2"}]`
	threeB   = `[{"rows":3,"hash":"1:3"}]`
	twoA     = `[{"rows":2,"hash":"1:2"}]`
	strange  = `[{"schema":"a b","name":"c\"d"}]`
	strangeQ = `"a b"."c""d"`
)

func TestTableIsReadOnBothServersWhereTheStandbyHasReplayedTheLock(t *testing.T) {
	t.Parallel()
	for _, v := range []postgres.Version{90400, 100000, 150000, 180000} {
		c := compareTables(v, strange).locking(strangeQ, nil).mark("0/5000")
		c.on1(c.hash(nil, threeA))
		// The position taken under the lock, not the one before it.
		c.replayed("0/4FFF").replayed("0/5000").on2(c.hash(nil, threeA)).release()
		r := c.run(t, patient)
		got := find(t, r, strangeQ)
		if !r.OK || !r.Whole || got.Database != "shop" || *got.Rows != 3 || !strings.HasPrefix(got.Detail, "3 rows equal at 0/5000; writes waited ") {
			t.Errorf("%s: %+v", v.Major(), r)
		}
		if r.Longest == nil || r.Longest.Table != strangeQ || r.Longest.Seconds != *got.BlockedSeconds {
			t.Errorf("%s: longest: %+v", v.Major(), r.Longest)
		}
	}
}

func TestTableWhoseRowsAreOthersFails(t *testing.T) {
	t.Parallel()
	for says, standby := range map[string]string{
		"differs at 0/5000: 3 rows on both, not the same ones; writes waited ": threeB,
		"differs at 0/5000: 2 rows, on pg1 3 rows; writes waited ":             twoA,
	} {
		c := compareTables(150000, items).locking(itemsQ, nil).mark("0/5000").replayed("0/5000")
		c.on1(c.hash(nil, threeA)).on2(c.hash(nil, standby)).release()
		r := c.run(t, patient)
		if got := find(t, r, itemsQ); r.OK || got.Result != Failed || !strings.HasPrefix(got.Detail, says) || !strings.HasSuffix(got.Hint, ": pgrepctl standby reseed pg2 --force") {
			t.Errorf("%+v", r)
		}
	}
}

func TestTableThatIsNotComparedIsSaidAndTheNextOneIs(t *testing.T) {
	t.Parallel()
	two := `[{"schema":"s","name":"busy"},{"schema":"s","name":"items"}]`
	for says, err := range map[string]*host.SQLError{
		"its lock was not got within 2s":    {Code: postgres.LockNotAvailable},
		"it was dropped meanwhile":          {Code: postgres.UndefinedTable},
		"cancelled on pg1":                  {Code: postgres.DeadlockDetected},
		"cancelled on pg1; writes waited ":  {Code: postgres.QueryCanceled},
		"no right (SQLSTATE 42501); writes": {Code: postgres.InsufficientPrivilege, Message: "no right"},
	} {
		c := compareTables(150000, two).locking(`"s"."busy"`, err).release()
		c.locking(itemsQ, nil).mark("0/5000").replayed("0/5000").on1(c.hash(nil, threeA)).on2(c.hash(nil, threeA)).release()
		r := c.run(t, patient)
		if d := cmp.Diff(map[string]Result{`"s"."busy"`: NotPossible, itemsQ: OK}, results(r)); d != "" || !r.OK || r.Whole {
			t.Error(d)
		}
		if got := find(t, r, `"s"."busy"`).Detail; !strings.Contains(got, "not compared: "+says) {
			t.Errorf("%s: %s", says, got)
		}
	}
}

func TestTableThatTheStandbyCannotReadFails(t *testing.T) {
	t.Parallel()
	// Damage is mended by other data, whatever else the standby does well.
	const again = "pgrepctl standby reseed pg2 --force"
	for code, hint := range map[string]string{postgres.DataCorrupted: again, postgres.IndexCorrupted: again, postgres.UndefinedFile: again, postgres.UndefinedTable: "", postgres.InsufficientPrivilege: ""} {
		c := compareTables(150000, items).locking(itemsQ, nil).mark("0/5000").replayed("0/5000")
		c.on1(c.hash(nil, threeA)).on2(c.hash(&host.SQLError{Code: code, Message: "invalid page in block 0"}, "")).release()
		r := c.run(t, patient)
		if got := find(t, r, itemsQ); r.OK || got.Result != Failed || !strings.HasPrefix(got.Detail, "pg2: invalid page in block 0 (SQLSTATE "+code+"); writes waited") || got.Hint != hint {
			t.Errorf("%+v", r)
		}
	}
}

// A copy of what is damaged is damaged: the standby is not to be seeded from there.
func TestDamageOfThePrimaryNamesNoReseed(t *testing.T) {
	t.Parallel()
	r := &run{Subject: Subject{Primary: Server{Name: "pg1"}, Standby: Server{Name: "pg2"}}}
	if res, _, hint := r.judge(&side{false, &host.SQLError{Code: postgres.DataCorrupted}}); res != Failed || hint != "" {
		t.Errorf("%s, %q", res, hint)
	}
}

func TestQueryThatRecoveryCancelsIsAskedAgain(t *testing.T) {
	t.Parallel()
	gone := &host.SQLError{Code: postgres.SerializationFailure}
	for last, want := range map[string]Result{threeA: OK, "": NotPossible} {
		c := compareTables(150000, items).locking(itemsQ, nil).mark("0/5000").replayed("0/5000")
		c.on1(c.hash(nil, threeA)).on2(c.hash(gone, ""), c.hash(gone, ""))
		if last == "" {
			c.on2(c.hash(gone, ""))
		} else {
			c.on2(c.hash(nil, last))
		}
		r := c.release().run(t, patient)
		if got := find(t, r, itemsQ); got.Result != want || !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestLockIsReleasedWhenTheStandbyStopsReplaying(t *testing.T) {
	t.Parallel()
	c := compareTables(150000, items).locking(itemsQ, nil).mark("0/5000")
	c.on1(c.hash(nil, threeA)).on2(hosttest.Call{Do: query(positionQuery(150000)), Out: `[{"replay":"0/2000","paused":true}]`}).release()
	r := c.run(t, patient)
	if got := find(t, r, itemsQ); r.OK || !strings.HasPrefix(got.Detail, "pg2: replay is paused at 0/2000, before 0/5000; writes waited") {
		t.Errorf("%+v", r)
	}
}

func TestLockIsHeldNoLongerThanAllowed(t *testing.T) {
	t.Parallel()
	c := compareTables(150000, items)
	c.mark("0/1000").replayed("0/1000").on1(hosttest.Call{Do: "exec BEGIN…"}).mark("0/5000").replayed("0/2000").on1(c.hash(nil, threeA)).release()
	r := c.run(t, Bounds{Wait: time.Minute, Lock: time.Minute, MaxLock: 1})
	if got := find(t, r, itemsQ); !r.OK || got.Result != NotPossible || !strings.Contains(got.Detail, "locked for longer than 1ns") || !strings.Contains(got.Hint, "--max-lock") {
		t.Errorf("%+v", r)
	}
}

func TestStandbyThatLagsIsNotWaitedForUnderALock(t *testing.T) {
	t.Parallel()
	c := compareTables(150000, `[{"schema":"s","name":"items"},{"schema":"s","name":"more"}]`).mark("0/1000").replayed("0/500")
	r := c.run(t, expired)
	if got := find(t, r, "hashes"); r.OK || len(r.Checks) != 1 || got.Detail != "it did not replay 0/1000 within 1ns: it is at 0/500; what follows was not compared" {
		t.Errorf("%+v", r)
	}
}

func TestNoSessionIsOpenedWhereNoPositionWillBeReached(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*Subject)
		want   Result
	}{
		"paused":             {func(s *Subject) { s.Standby.Facts.Server.Replay.Paused = true }, Failed},
		"delayed":            {func(s *Subject) { s.Delayed = true }, NotPossible},
		"not in recovery":    {func(s *Subject) { s.Standby.Facts.Server.InRecovery = false }, Failed},
		"another system":     {func(s *Subject) { s.Standby.Facts.Server.SystemID = "78" }, Failed},
		"primary is none":    {func(s *Subject) { s.Primary.Facts.Server.InRecovery = true }, Failed},
		"primary is stopped": {func(s *Subject) { s.Primary.Facts.Server.Running = false }, Failed},
	} {
		s := subject(150000)
		c.damage(&s)
		r, err := Run(t.Context(), scripts(t, nil, nil), s, []Level{Hashes}, nil, patient)
		if err != nil || len(r.Checks) != 1 || r.Checks[0].Result != c.want || r.Checks[0].Hint == "" && name != "another system" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
