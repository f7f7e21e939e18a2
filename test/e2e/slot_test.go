package e2e

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/slot"
	"github.com/pgrepctl/pgrepctl/pkg/status"
)

func (o *operator) slots(args ...string) status.SlotReport {
	o.t.Helper()
	var r status.SlotReport
	o.call(append([]string{"slot", "list", "-o", "json"}, args...)...).exits(0).decode(&r)
	return r
}

// ran does what acts, and returns its run.
func (o *operator) ran(args ...string) string {
	o.t.Helper()
	var r engine.Report
	o.call(append(args, "--yes", "-o", "json")...).exits(0).decode(&r)
	return r.Run
}

// slotOn is a slot of the report, and whether it is there.
func slotOn(r status.SlotReport, host, name string) (status.SlotRow, bool) {
	for _, h := range r.Hosts {
		for _, x := range h.Slots {
			if h.Host == host && x.Slot == name {
				return x, true
			}
		}
	}
	return status.SlotRow{}, false
}

// names of the slots of a host, as its server tells them.
func (s *site) slotNames(t *testing.T, host string) string {
	t.Helper()
	return s.sql(t, host, "postgres", "select coalesce(string_agg(slot_name, ' ' order by slot_name), '') from pg_replication_slots")
}

func TestSlotsAreListedMadeDroppedPrunedAndLimited(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")

	t.Run("create, on the primary and on a standby", func(t *testing.T) {
		o.call("slot", "create", "retired", "--dry-run").exits(0).says("create slot retired", "of no host of the inventory")
		if got := s.slotNames(t, "h1"); got != "h2" {
			t.Errorf("a dry run: slots %q", got)
		}
		o.call("slot", "create", "retired", "--yes").exits(0)
		o.call("slot", "create", "moved", "--on", "h2", "--yes").exits(0)
		o.call("slot", "create", "--for", "h3", "--yes").exits(0)
		if got := s.slotNames(t, "h1") + ", " + s.slotNames(t, "h2"); got != "h2 h3 retired, moved" {
			t.Errorf("slots: %s", got)
		}
	})

	t.Run("list names the owners, and the orphans with the command that drops them", func(t *testing.T) {
		s.sql(t, "h1", "postgres", "select from pg_create_physical_replication_slot('empty')")
		r := o.slots()
		own, _ := slotOn(r, "h1", "h2")
		if own.Use != slot.Needed || own.Host != "h2" || !own.Active || own.Drop != "" || own.RetainedBytes == nil || own.WALStatus != "reserved" {
			t.Errorf("the standby's: %+v", own)
		}
		waits, _ := slotOn(r, "h1", "h3")
		if waits.Use != slot.Needed || waits.Host != "h3" || waits.Active || waits.Drop != "" {
			t.Errorf("of one that waits for its bootstrap: %+v", waits)
		}
		orphan, _ := slotOn(r, "h1", "retired")
		if orphan.Use != slot.Orphan || orphan.Active || orphan.Drop != "pgrepctl slot drop retired --on h1" || *orphan.RetainedBytes <= 0 {
			t.Errorf("the orphan: %+v", orphan)
		}
		if moved, _ := slotOn(r, "h2", "moved"); moved.Use != slot.Orphan || moved.Drop != "pgrepctl slot drop moved --on h2" || *moved.RetainedBytes <= 0 {
			t.Errorf("the orphan of a standby: %+v", moved)
		}
		if empty, _ := slotOn(r, "h1", "empty"); empty.RetainedBytes != nil {
			t.Errorf("one that keeps nothing: %+v", empty)
		}
		h1 := r.Hosts[0]
		if h1.FreeBytes == nil || *h1.FreeBytes <= 0 || h1.WALRate == nil || h1.LimitSetting != "max_slot_wal_keep_size" || h1.LimitBytes != nil || h1.KeepSetting != "wal_keep_size" {
			t.Errorf("the primary: %+v", h1)
		}
		o.call("slot", "list", "h1", "--sample", "0").exits(0).says("orphan", "slot drop retired --on h1", "max_slot_wal_keep_size is not set")
		if r := o.slots("h2", "--sample", "0"); len(r.Hosts) != 1 || r.Hosts[0].WALRate != nil {
			t.Errorf("h2 alone, read once: %+v", r)
		}
		o.call("status").exits(0).says("slot drop retired --on h1")
	})

	t.Run("drop is refused where somebody needs or uses the slot", func(t *testing.T) {
		o.call("slot", "drop", "h2", "--yes").exits(6).says("the inventory gives it to h2", "--of h2")
		o.call("slot", "drop", "h2", "--of", "h2", "--yes").exits(6).says("active", "stop the server of h2", "--terminate")
	})

	t.Run("drop does what list says, and undo makes the slot again", func(t *testing.T) {
		orphan, _ := slotOn(o.slots("--sample", "0"), "h1", "retired")
		words := strings.Fields(orphan.Drop)[1:]
		o.call(append(words, "--dry-run")...).exits(0).says("drop slot retired", "an undo does not bring that back")
		id := o.ran(words...)
		if got := s.slotNames(t, "h1"); got != "empty h2 h3" {
			t.Errorf("slots after the drop: %s", got)
		}
		o.call("runs", "undo", id, "--yes").exits(0)
		if got := s.sql(t, "h1", "postgres", "select slot_type, restart_lsn is not null from pg_replication_slots where slot_name = 'retired'"); got != "physical|t" {
			t.Errorf("after the undo: %s", got)
		}
	})

	t.Run("prune drops every orphan that nobody uses", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.lab.Run(ctx, "h1", []string{"sh", "-c", asPostgres + "cd /; install -d -o postgres /var/tmp/received; as pg_receivewal -D /var/tmp/received -S retired"}, host.Stdio{})
		}()
		s.eventually(t, "a receiver uses the orphan", func() bool {
			return s.sql(t, "h1", "postgres", "select active from pg_replication_slots where slot_name = 'retired'") == "t"
		})
		if x, _ := slotOn(o.slots("h1", "--sample", "0"), "h1", "retired"); x.Use != slot.Orphan || !x.Active || x.Client != "pg_receivewal" || x.Drop != "" {
			t.Errorf("in use: %+v", x)
		}
		o.call("slot", "drop", "retired", "--yes").exits(6).says("pg_receivewal", "--terminate")
		o.call("slot", "prune").exits(6).says("drop slot empty", "drop slot moved") // nobody says yes
		o.call("slot", "prune", "--yes").exits(0)
		if got := s.slotNames(t, "h1") + ", " + s.slotNames(t, "h2"); got != "h2 h3 retired, " {
			t.Errorf("slots after the prune: %s", got)
		}
		o.call("slot", "drop", "retired", "--terminate", "--yes").exits(0)
		cancel()
		<-ended
		s.at(t, "h1", "pkill -KILL -x pg_receivewal || true")
		s.do(t, s.lab.Kill(t.Context(), "h3"))
		o.call("slot", "prune", "--dry-run", "--connect-timeout", "3s").exits(5)
		o.call("slot", "prune", "--on", "h1", "--yes", "--connect-timeout", "3s").exits(0)
		// A slot of nobody may be that of the standby that cannot be asked.
		s.sql(t, "h1", "postgres", "select pg_create_physical_replication_slot('other')")
		o.call("slot", "prune", "--on", "h1", "--yes", "--connect-timeout", "3s").exits(0).says("which slot h3 uses is not known", "slot drop other --on h1")
		if got := s.slotNames(t, "h1"); got != "h2 h3 other" {
			t.Errorf("slots after a prune without h3: %s", got)
		}
		o.call("slot", "drop", "other", "--on", "h1", "--yes", "--connect-timeout", "3s").exits(0)
	})

	t.Run("limit is set by a reload, and not below what a slot keeps", func(t *testing.T) {
		show := func() string { return s.sql(t, "h1", "postgres", "show max_slot_wal_keep_size") }
		o.call("slot", "limit", "10GB", "--dry-run").exits(0).says("max_slot_wal_keep_size = 10GB", "reload")
		id := o.ran("slot", "limit", "10GB")
		if got := show(); got != "10GB" {
			t.Errorf("limit %s", got)
		}
		if h1 := o.slots("h1", "--sample", "0").Hosts[0]; h1.LimitBytes == nil || *h1.LimitBytes != 10<<30 || h1.Slots[0].SafeWALSize == nil {
			t.Errorf("list: %+v", h1)
		}
		s.sql(t, "h1", "postgres", "select pg_logical_emit_message(true, 'fill', repeat('x', 3000000))")
		o.call("slot", "limit", "1MB", "--yes").exits(6).says("slot h3 of h3 keeps")
		o.call("runs", "undo", id, "--yes").exits(0)
		if got := show(); got != "-1" {
			t.Errorf("limit after the undo: %s", got)
		}
	})

	t.Run("the slot of a standby that was stopped for good is dropped by naming the standby", func(t *testing.T) {
		s.at(t, "h2", "pg_ctlcluster 15 main stop")
		o.call("slot", "drop", "h2", "--of", "h2", "--yes").exits(0)
		if got := s.slotNames(t, "h1"); got != "h3" {
			t.Errorf("slots: %s", got)
		}
		o.call("slot", "list", "h1", "--exit-code", "--sample", "0").exits(3).says("slot h2 of h2 does not exist")
	})
	s.do(t, s.lab.Start(t.Context(), "h3"))
}

// steadyWAL makes h1 write so many bytes of WAL a second, by the clock, until its
// server stops.
func (s *site) steadyWAL(t *testing.T, perSecond int) (ended <-chan time.Time) {
	t.Helper()
	const chunk = 1 << 18
	query := `do $$
declare began timestamptz := clock_timestamp(); n int := 0;
begin
  loop
    perform pg_logical_emit_message(false, 'fill', repeat('x', ` + strconv.Itoa(chunk) + `));
    n := n + 1;
    perform pg_sleep(greatest(0, extract(epoch from began + n * interval '` + strconv.FormatFloat(chunk/float64(perSecond), 'f', 6, 64) + ` seconds` + `' - clock_timestamp())));
  end loop;
end $$;
`
	out := make(chan time.Time, 1)
	go func() {
		_ = s.lab.Run(context.Background(), "h1", []string{"sh", "-c", asPostgres + "cd /; as psql -Xq"}, host.Stdio{In: strings.NewReader(query)})
		out <- time.Now()
	}()
	return out
}

// The promise is a time within 15 % of the truth under steady load.
func TestTimeUntilTheDiskIsFullIsForetold(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	s.smallWAL(t)
	o.call("slot", "create", "retired", "--yes").exits(0)
	ended := s.steadyWAL(t, 8<<20)
	s.eventually(t, "WAL is written", func() bool {
		rate := o.slots("h1", "--sample", "200ms").Hosts[0].WALRate
		return rate != nil && *rate > 1<<20
	})

	r := o.slots("h1", "--sample", "3s")
	x, _ := slotOn(r, "h1", "retired")
	if x.FullSeconds == nil || x.Growth == nil || r.Healthy {
		t.Fatalf("no end is foretold: %+v", r.Hosts[0])
	}
	if off := *x.Growth/(8<<20) - 1; math.Abs(off) > 0.15 {
		t.Errorf("grows by %.0f bytes/s", *x.Growth)
	}
	full := <-ended
	// From when it was read: a busy machine ends the tool seconds later.
	took := full.Sub(time.UnixMicro(int64(r.Hosts[0].ReadAt * 1e6))).Seconds()
	log := s.at(t, "h1", "grep -c 'No space left on device' $log || true")
	// Give it room and its life back.
	s.grow(t, "h1", "$data/pg_wal", "1g")
	s.at(t, "h1", `if ! as $bin/pg_ctl -s -D $data status >/dev/null; then as $bin/pg_ctl -s -w -D $data -l $log start >/dev/null; fi`)
	s.eventually(t, "h1 answers", func() bool { return s.at(t, "h1", "as psql -XAtqc 'select 1' 2>/dev/null || true") == "1" })
	if log == "0" {
		t.Fatal("the server stopped, and not for want of room")
	}
	off := *x.FullSeconds/took - 1
	t.Logf("foretold %.1f s, took %.1f s: %+.1f %%", *x.FullSeconds, took, 100*off)
	if math.Abs(off) > 0.15 {
		t.Errorf("full in %.1f s was foretold, and it took %.1f s", *x.FullSeconds, took)
	}
	o.call("slot", "prune", "--yes").exits(0)
	s.sql(t, "h1", "postgres", "checkpoint")
}
