package effect_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

const addOthers = "alter table others add column note text"

// A lock is in the WAL from the moment it is granted, and replay takes it of an attempt that was
// rolled back, too. What the resume that follows goes by is noted.
func TestAnAttemptThatWasRolledBackIsLetGoLikeACommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second string
		below  string // of the second statement
		code   string
		noted  string
	}{
		"the second table was not locked":               {addOthers, `{"n": 1, "oid": 16500}`, "55P03", "16400"},
		"a partition of the second table may have been": {addOthers, `{"n": 1, "oid": 16500}, {"n": 1, "oid": 16501}`, "55P03", "16400,16500,16501"},
		"the second statement is wrong":                 {addOthers, `{"n": 1, "oid": 16500}`, "42701", "16400,16500"},
		"both act on one table":                         {addOthers, `{"n": 1, "oid": 16400}`, "42701", "16400"},
		"a sequence of the second table was not locked": {"drop table others", `{"n": 1, "oid": 16500}`, "55P03", "16400,16500"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := pausedDDL()
			e.Statements, e.LockWait = append(e.Statements, c.second), -1
			failed := exec(c.second)
			failed.Err = &host.SQLError{Code: c.code}
			in := onPG1(t, connected(), below(ddlBegun(), c.below), []hosttest.Call{exec(addNote), exec("SET LOCAL statement_timeout = '…"), failed, exec("ROLLBACK")}, closed())
			if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) {
				t.Errorf("got %v", err)
			}
			if got := in.known[effect.DDLRelations]; got != c.noted || in.known[effect.DDLXid] != "" {
				t.Errorf("noted %q and transaction %q, want %q and none", got, in.known[effect.DDLXid], c.noted)
			}
		})
	}
	// Of a lock that was not granted nothing is in the WAL.
	e := pausedDDL()
	e.LockWait = -1
	refused := exec(addNote)
	refused.Err = &host.SQLError{Code: "55P03"}
	in := onPG1(t, connected(), below(ddlBegun()), []hosttest.Call{refused, exec("ROLLBACK")}, closed())
	if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || in.known[effect.DDLRelations] != "" {
		t.Errorf("got %v, noted %v", err, in.known)
	}
}

// Of a foreign key that is dropped the second lock was not obtained: the first is in the WAL.
func TestTheOtherEndOfAForeignKeyIsWaitedForWithTheTableLocked(t *testing.T) {
	t.Parallel()
	for statement, lone := range map[string]bool{
		"alter table items drop constraint items_customer_fkey":                       false,
		"ALTER TABLE items ADD COLUMN customer int REFERENCES customers":              false,
		"alter table items alter column id restart":                                   false,
		"alter table items add column \"Set\" int, owner to app":                      false,
		"alter table items add column n int, validate constraint items_customer_fkey": false,
		"drop table items": false,
		"alter table if exists only items add column note text default ''": true,
		"alter table items rename column note to notes":                    true,
		"alter table items add column offset_of int":                       true,
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			e := pausedDDL()
			e.Statements, e.LockWait = []string{statement}, -1
			failed := exec(statement)
			failed.Err = &host.SQLError{Code: "55P03"}
			noted := map[bool]string{false: "16400", true: ""}[lone]
			in := onPG1(t, connected(), slices.Insert(ddlBegun(), 2, mayLock(strconv.FormatBool(lone))), []hosttest.Call{failed, exec("ROLLBACK")}, closed())
			if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || in.known[effect.DDLRelations] != noted {
				t.Errorf("got %v, noted %v, want %q", err, in.known, noted)
			}
		})
	}
}

// "$user" in search_path is who runs the statements: CURRENT_USER, which SET ROLE changes.
func TestWhatAStatementMayLockIsAskedAsWhoRunsIt(t *testing.T) {
	t.Parallel()
	e := pausedDDL()
	e.Role, e.LockWait = "app", -1
	begun := below(ddlBegun())
	begun[1] = exec("BEGIN; SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '1000ms'; " +
		"select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') in ('off', 'remote_apply'); " +
		`SET LOCAL standard_conforming_strings = on; SET LOCAL ROLE "app"`)
	failed := exec(addNote)
	failed.Err = &host.SQLError{Code: "42701"}
	in := onPG1(t, connected(), begun, []hosttest.Call{failed, exec("ROLLBACK")}, closed())
	if _, err := e.Do(t.Context(), in); !errors.Is(err, effect.ErrUntouched) || in.known[effect.DDLRelations] != "16400" {
		t.Errorf("got %v, noted %v", err, in.known)
	}
}

// No walreceiver is started while replay is paused, and the COMMIT would wait for its flush.
func TestACommitThatWouldWaitForAStandbyWithoutAWALReceiverIsNotTried(t *testing.T) {
	t.Parallel()
	row := strings.Replace(standbyRow("paused", "0/9000000", "null"), `"receiver": "streaming"`, `"receiver": ""`, 1)
	for _, waited := range []bool{true, false} {
		e := pausedDDL()
		e.Paused[0].Waited = waited
		calls, end := []hosttest.Call{{Do: progress, Out: row}}, []hosttest.Call{exec("ROLLBACK")}
		if !waited {
			calls = append(calls, hosttest.Call{Do: "query select l.database::int8…", Out: noRows})
			end = committed()
		}
		in := onPG1(t, connected(), below(ddlRun()), durable(), end, closed())
		in.hosts["pg2"] = onPG2(t, calls...).hosts["pg2"]
		_, err := e.Do(t.Context(), in)
		if refused := errors.Is(err, effect.ErrUntouched) && strings.Contains(err.Error(), "pg2: look at it before the COMMIT: commits wait for it"); refused != waited || !waited && err != nil {
			t.Errorf("waited for: %t: %v", waited, err)
		}
	}
}

// A standby that was out when the groups were made takes no part, and comes in meanwhile.
func TestAStandbyThatServesByNowAndTakesNoPartIsNotCommittedOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		admin, sessions string
		stops           bool
	}{"it is still out": {"8", "0", false}, "it serves": {"0", "0", true}, "a session has come": {"8", "1", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newDDL()
			e.Apart = []effect.Balance{{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2"}}
			end := committed()
			if c.stops {
				end = []hosttest.Call{exec("ROLLBACK")}
			}
			in := onPG1(t, connected(), ddlRun(), durable(), end, closed())
			in.hosts["lb"] = hosttest.NewScript(t, "lb", hosttest.NewFS(), haproxy(c.admin, c.sessions)...)
			_, err := e.Do(t.Context(), in)
			if stopped := errors.Is(err, effect.ErrUntouched) && fault.ClassOf(err) == fault.Failed && strings.Contains(err.Error(), "lb: look at pg2: it takes no part"); stopped != c.stops || !c.stops && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// While one is waited for, those that are paused already would serve ever older data.
func TestNobodyIsPausedWhileAnotherStandbyIsWaitedFor(t *testing.T) {
	t.Parallel()
	held := func(yes string) hosttest.Call {
		return hosttest.Call{Do: "query select exists (select from pg_locks…", Out: `[{"held": ` + yes + `}]`}
	}
	e := setReplay(true)
	e.Clean, e.Quiet, e.Database, e.QuietFor = true, []int64{16400}, "shop", 10e9
	e.With = []effect.Replaying{{Host: "pg3", Version: e.Version}}
	free := false
	other := []hosttest.Call{{Do: "connect"}, held("true"), held("false")}
	other[2].Then = func() { free = true }
	pause := exec("select pg_wal_replay_pause()")
	pause.Then = func() {
		if !free {
			t.Error("pg2 was paused while a report was in the way on pg3")
		}
	}
	row := func(state string) hosttest.Call {
		return hosttest.Call{Do: progress, Out: standbyRow(state, "0/9000000", "null")}
	}
	in := onPG2(t, slices.Concat([]hosttest.Call{row("not paused"), held("false"), held("false")},
		[]hosttest.Call{row("not paused"), row("not paused"), pause, row("paused"), {Do: "query select l.database::int8…", Out: noRows}})...)
	in.hosts["pg3"] = hosttest.NewScript(t, "pg3", hosttest.NewFS(), other...)
	do(t, e, in)
}

// The pause would be taken back at the end, and with it that of somebody else.
func TestAPauseOfSomebodyElseIsNotTakenOver(t *testing.T) {
	t.Parallel()
	e := setReplay(true)
	e.Clean = true
	row := func(state string) hosttest.Call {
		return hosttest.Call{Do: progress, Out: standbyRow(state, "0/9000000", "null")}
	}
	_, err := e.Do(t.Context(), onPG2(t, row("paused"), row("paused"), row("paused")))
	if fault.ClassOf(err) != fault.Refused || !errors.Is(err, effect.ErrUntouched) || !strings.Contains(err.Error(), "somebody else") {
		t.Errorf("got %v", err)
	}
}
