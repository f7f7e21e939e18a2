package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Row is one host for metrics: what is said of it, and what it said.
type Row struct {
	State State
	Slots []facts.Slot
}

// Metrics is the text format of Prometheus, version 0.0.4. It is written here: the
// format is a page, and the official client is a registry of the metrics of its own
// process, which brings a dozen modules along.
func Metrics(cluster string, rows []Row, changes map[string]int, at time.Time) string {
	var b strings.Builder
	family := func(name, kind, help string, value func(Row) (string, bool)) {
		head := false
		for _, r := range rows {
			v, ok := value(r)
			if !ok {
				continue
			}
			if !head {
				head = true
				fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
			}
			fmt.Fprintf(&b, "%s{cluster=\"%s\",host=\"%s\"} %s\n", name, escape(cluster), escape(r.State.Host), v)
		}
	}
	float := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	stamp := func(t time.Time) (string, bool) { return float(float64(t.UnixMilli()) / 1000), !t.IsZero() }
	flag := func(f func(Row) bool) func(Row) (string, bool) {
		return func(r Row) (string, bool) { return strconv.Itoa(number(f(r))), true }
	}
	family("pgrepctl_in", "gauge", "1 while the host may have traffic: writes of a primary, reads of a standby.", flag(func(r Row) bool { return r.State.In }))
	family("pgrepctl_up", "gauge", "1 while the server of the host accepts sessions.", flag(func(r Row) bool { return AskHealth.Answer(r.State) }))
	family("pgrepctl_planned", "gauge", "1 while the host is out, or late, because somebody planned it.", flag(func(r Row) bool { return r.State.Reason.Planned() }))
	// 0, and not nothing: a cluster of which no host answers has no primary either.
	family("pgrepctl_primary", "gauge", "1 while the server takes writes; 0 also while it gives no answer.", flag(func(r Row) bool {
		return r.State.Role == inventory.Primary && !r.State.Reason.silent()
	}))
	family("pgrepctl_replay_paused", "gauge", "1 while replay is paused.", func(r Row) (string, bool) {
		return strconv.Itoa(number(r.State.Paused)), !r.State.Reason.silent()
	})
	family("pgrepctl_replication_lag_bytes", "gauge", "WAL that exists and is not replayed.", func(r Row) (string, bool) {
		if r.State.LagBytes == nil {
			return "", false
		}
		return strconv.FormatInt(*r.State.LagBytes, 10), true
	})
	family("pgrepctl_replication_lag_seconds", "gauge", "How old the data of a standby may be.", func(r Row) (string, bool) {
		if r.State.LagSeconds == nil {
			return "", false
		}
		return float(*r.State.LagSeconds), true
	})
	family("pgrepctl_timeline", "gauge", "Timeline of the server.", func(r Row) (string, bool) {
		return strconv.Itoa(r.State.Timeline), r.State.Timeline > 0 && !r.State.Reason.silent()
	})
	family("pgrepctl_since_timestamp_seconds", "gauge", "When the host went in or out.", func(r Row) (string, bool) { return stamp(r.State.Since) })
	family("pgrepctl_last_check_timestamp_seconds", "gauge", "When the host answered last.", func(r Row) (string, bool) { return stamp(r.State.Seen) })
	family("pgrepctl_changes_total", "counter", "How often the host went in or out.", func(r Row) (string, bool) {
		return strconv.Itoa(changes[r.State.Host]), changes != nil
	})
	slots(&b, cluster, rows)
	fmt.Fprintf(&b, "# HELP pgrepctl_written_timestamp_seconds When this was written.\n# TYPE pgrepctl_written_timestamp_seconds gauge\npgrepctl_written_timestamp_seconds{cluster=\"%s\"} %s\n",
		escape(cluster), float(float64(at.UnixMilli())/1000))
	return b.String()
}

func slots(b *strings.Builder, cluster string, rows []Row) {
	head := false
	for _, r := range rows {
		for _, s := range r.Slots {
			if s.RetainedBytes == nil {
				continue
			}
			if !head {
				head = true
				b.WriteString("# HELP pgrepctl_slot_retained_bytes WAL that a replication slot keeps.\n# TYPE pgrepctl_slot_retained_bytes gauge\n")
			}
			fmt.Fprintf(b, "pgrepctl_slot_retained_bytes{cluster=\"%s\",host=\"%s\",slot=\"%s\",active=\"%t\"} %d\n", escape(cluster), escape(r.State.Host), escape(s.Name), s.Active, *s.RetainedBytes)
		}
	}
}

// escape is for label values.
func escape(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) }
