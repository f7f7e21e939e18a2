package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// waitLogged is deadlock_timeout on all servers: log_lock_waits writes down each
// wait for a lock that is longer.
const waitLogged = 10 * time.Millisecond

// lockWait is one wait for a lock, as a server's log has it.
type lockWait struct {
	pid  int
	mode string // the lock that was asked for
	took time.Duration
}

// serverLog is what a server's log says about waiting.
type serverLog struct {
	waits     []lockWait // of clients, in the order in which they began
	cancelled int        // sessions or statements that recovery cancelled
	replay    time.Duration
	statement time.Duration // the longest ALTER TABLE, where log_min_duration_statement has it
}

// of returns the waits for a lock of one mode. Reads ask for AccessShareLock, and
// nobody else in the log of these tables does.
func (l *serverLog) of(mode string) []lockWait {
	var of []lockWait
	for _, w := range l.waits {
		if w.mode == mode {
			of = append(of, w)
		}
	}
	return of
}

func longest(waits []lockWait) time.Duration {
	var longest time.Duration
	for _, w := range waits {
		longest = max(longest, w.took)
	}
	return longest
}

// logWords are those of PostgreSQL 10 to 18 with lc_messages=C, after the prefix that settings.go gives
// them: time, pid, and of a client its user and database.
type logWords struct {
	line, waiting, replay, duration *regexp.Regexp
}

func newLogWords() logWords {
	return logWords{
		line:     regexp.MustCompile(`^\S+ \S+ \S+ \[(\d+)\] (?:\S+@\S+ )?([A-Z]+):  (.*)`),
		waiting:  regexp.MustCompile(`^process (\d+) (still waiting for|acquired) (\w+) on .* after ([\d.]+) ms\b`),
		replay:   regexp.MustCompile(`^recovery (?:still|finished) waiting after ([\d.]+) ms: recovery conflict on `),
		duration: regexp.MustCompile(`^duration: ([\d.]+) ms  (?:statement|execute [^:]*|parse [^:]*|bind [^:]*): (?i:alter table)`),
	}
}

// readServerLog reads a log. One wait can be written down several times ("still
// waiting", after each check for a deadlock) and ends with "acquired" or the end
// of its statement, so waits are counted by process.
func readServerLog(r io.Reader) (*serverLog, error) {
	words, l := newLogWords(), &serverLog{}
	going := map[int]int{} // by process: its wait in l.waits
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := words.line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("read server log: %w", err)
		}
		level, text := m[2], m[3]
		if level == "ERROR" || level == "FATAL" {
			delete(going, pid)
			if strings.Contains(text, "due to conflict with recovery") {
				l.cancelled++
			}
			continue
		}
		if level != "LOG" {
			continue
		}
		if w := words.waiting.FindStringSubmatch(text); w != nil {
			took, err := milliseconds(w[4])
			if err != nil {
				return nil, err
			}
			n, known := going[pid]
			if !known {
				n = len(l.waits)
				l.waits = append(l.waits, lockWait{pid: pid, mode: w[3]})
				going[pid] = n
			}
			l.waits[n].took = took
			if w[2] == "acquired" {
				delete(going, pid)
			}
			continue
		}
		if w := words.replay.FindStringSubmatch(text); w != nil {
			took, err := milliseconds(w[1])
			if err != nil {
				return nil, err
			}
			l.replay = max(l.replay, took)
			continue
		}
		if w := words.duration.FindStringSubmatch(text); w != nil {
			took, err := milliseconds(w[1])
			if err != nil {
				return nil, err
			}
			l.statement = max(l.statement, took)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read server log: %w", err)
	}
	return l, nil
}

func milliseconds(s string) (time.Duration, error) {
	ms, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("read server log: %w", err)
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}
