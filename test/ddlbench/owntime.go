package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// journal reads what a run of the tool did, and when.
func (s *stage) journal(run string) ([]journal.Record, error) {
	file := filepath.Join(s.state, "runs", "pgrepctl", s.lab.Name, run+".jsonl")
	if s.keepLogs != "" {
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(s.keepLogs, run+".jsonl"), b, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("keep journal: %w", err)
		}
	}
	return journal.Read(file)
}

// waiting is how long a run waited for others: for reads to end, for balancers, for
// replay, for a lock. The rest of its time is the tool's own.
func waiting(recs []journal.Record) (time.Duration, error) {
	began := map[int]journal.Record{} // by number of the intent
	var sum time.Duration
	for _, r := range recs {
		if r.Type == journal.Intent {
			began[r.Seq] = r
			continue
		}
		intent, ok := began[r.Of]
		if !ok || r.Type != journal.Done && r.Type != journal.Failed {
			continue
		}
		took := r.At.Sub(intent.At)
		switch {
		case strings.HasPrefix(intent.Effect, "await-"):
			sum += took
		case intent.Effect == (*effect.SetReplay)(nil).Kind(): // until replay stands still, or until nobody holds a lock
			sum += took
		case intent.Effect == (*effect.DDL)(nil).Kind() && r.Output[effect.DDLSeconds] != "":
			// All but the attempt that was committed.
			last, err := strconv.ParseFloat(r.Output[effect.DDLSeconds], 64)
			if err != nil {
				return 0, fmt.Errorf("read journal: %w", err)
			}
			sum += max(0, took-time.Duration(last*float64(time.Second)))
		}
	}
	return sum, nil
}
