package main

import "time"

// onSchedule calls do for each time that is due, from first on, until end is
// closed. Those that become due while do has not returned are not made up for,
// but told to unsent: a load that waited for its answers would ask less the more
// it is blocked, and one that sent them all afterwards would be another load.
func onSchedule(first time.Time, every time.Duration, end <-chan struct{}, do func(due time.Time), unsent func(due, free time.Time)) {
	for due := first; ; {
		timer := time.NewTimer(time.Until(due))
		select {
		case <-end:
			timer.Stop()
			return
		case <-timer.C:
		}
		do(due)
		free := time.Now()
		for due = due.Add(every); !due.After(free); due = due.Add(every) {
			unsent(due, free)
		}
	}
}
