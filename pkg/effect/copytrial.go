package effect

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ZstdSender is the name by which a stream asks for the sender that compresses.
const ZstdSender = "zstd"

// ZstdFlags are those of rsync at both ends. Of the other levels none gives back on
// a fast link what it costs.
func ZstdFlags() []string {
	return []string{"--compress", "--compress-choice=zstd", "--compress-level=1"}
}

// errOtherWay ends a stream that goes on with, or without, compression.
var errOtherWay = errors.New("the other way is faster")

// trial finds out whether to compress. All streams do at first: where the link is the
// limit nothing else is as fast, and a short copy has no time to find out more. In a long
// one a stream goes on without, and what it and the others bring in the same seconds
// decides for the rest. Whether the link is the limit or a processor, and how well these
// data compress, is all in that, and in nothing else that could be asked for.
//
// The same seconds, because streams share the link: what one leaves, the others take.
// And only while all are at large files: a stream of small ones waits for disks.
type trial struct {
	mu      sync.Mutex
	streams []tried
	plain   int     // the stream that goes on without compression; -1 is none yet
	zstd    float64 // what a stream brought in a second while all compressed
	decided bool
	note    string
	now     func() time.Time
}

// tried is what is known of a stream.
type tried struct {
	zstd  bool
	marks []mark // of its present run, the last trialWindow
	bytes int64
	share int64 // what is expected of it
	ended bool
	turn  func(error) // ends its present run
}

// mark is how far a stream was at an instant, and the number of reports up to it.
type mark struct {
	at      time.Time
	bytes   int64
	reports int
}

const (
	// trialTime is how long streams are compared, at least, and trialWindow how far
	// back. rsync tells once a second how far it is in a large file, and of each
	// file that it is done.
	trialTime   = 1500 * time.Millisecond
	trialWindow = 4 * time.Second
	// trialWorth is how much time must be left: to change over costs a stream the file
	// that it is at, and its login.
	trialWorth = time.Minute
	// A report of trialFile, or a rare one, is of a large file.
	trialFile = 4 << 20
	trialRare = 700 * time.Millisecond
	// trialGain is how much faster the other must be: what a stream has done is
	// looked at again, on both ends, when it changes over.
	trialGain = 1.15
)

// newTrial has all streams compress, and tries one without in time. compress is "zstd" or
// "none" where there is nothing to find out, as there is not in a copy of a few files.
// Only where the target was empty may a stream change over: elsewhere it would compare all
// that it has done once more.
func newTrial(list []stream, compress string, empty bool, now func() time.Time) *trial {
	var share int64
	for _, s := range list {
		share += s.share
	}
	if compress == "auto" && share < streamBytes {
		compress = "none"
	}
	t := &trial{streams: make([]tried, len(list)), plain: -1, decided: compress != "auto" || !empty, now: now}
	for i, s := range list {
		t.streams[i] = tried{zstd: compress == "zstd" || compress == "auto", share: s.share}
	}
	if t.streams[0].zstd {
		t.note = "zstd:1"
	}
	return t
}

// begin tells whether the next run of a stream is to compress, and takes what ends
// that run when it should have been the other way.
func (t *trial) begin(i int, turn func(error)) (zstd bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.streams[i]
	s.marks, s.turn = nil, turn
	return s.zstd
}

// end: a stream has done all of its part. The one without compression that is the last
// has nothing to be compared with, and may have much before it.
func (t *trial) end(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams[i].ended, t.streams[i].turn = true, nil
	if t.decided || t.plain < 0 || len(t.streams) == 1 {
		return
	}
	for j, s := range t.streams {
		if j != t.plain && !s.ended {
			return
		}
	}
	t.decided, t.note = true, "zstd:1"
	t.all(true)
}

// report takes how far a stream is, and decides when all of them can be compared.
func (t *trial) report(i int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.decided {
		return
	}
	s, now := &t.streams[i], t.now()
	s.bytes = max(s.bytes, bytes)
	n := 1
	if l := len(s.marks); l > 0 {
		n += s.marks[l-1].reports
	}
	if l := len(s.marks); l > 1 && now.Sub(s.marks[l-2].at) < trialRare/8 {
		s.marks = s.marks[:l-1] // of thousands of small files
	}
	s.marks = append(s.marks, mark{now, bytes, n})
	for len(s.marks) > 2 && now.Sub(s.marks[0].at) > trialWindow {
		s.marks = s.marks[1:]
	}
	if t.plain < 0 {
		t.begun(now)
	} else {
		t.compare(now)
	}
}

// mean is what a stream brings in a second, of those that are asked for and have not
// ended; ok is false while one of them cannot be judged, or none is left.
func (t *trial) mean(now time.Time, of func(i int) bool) (rate float64, ok bool) {
	n := 0
	for i, s := range t.streams {
		if s.ended || !of(i) {
			continue
		}
		r, ok := s.rate(now)
		if !ok {
			return 0, false
		}
		rate, n = rate+r, n+1
	}
	return rate / float64(max(n, 1)), n > 0
}

// begun: all compress. When it is known how fast that is, the stream with the most before
// it goes on without, if that is worth it.
func (t *trial) begun(now time.Time) {
	rate, ok := t.mean(now, func(int) bool { return true })
	if !ok {
		return
	}
	most, left := 0, func(i int) int64 {
		if t.streams[i].ended {
			return 0
		}
		return t.streams[i].share - t.streams[i].bytes
	}
	for i := range t.streams {
		if left(i) > left(most) {
			most = i
		}
	}
	if float64(left(most)) < rate*trialWorth.Seconds() {
		t.decided, t.note = true, "zstd:1; the rest is too short to try it without"
		return
	}
	t.plain, t.zstd, t.note = most, rate, "zstd:1, trying a stream without"
	for i := range t.streams {
		t.streams[i].marks = nil
	}
	t.streams[most].to(false)
}

// compare decides when both kinds of streams can be judged. A stream that is alone is
// compared with itself.
func (t *trial) compare(now time.Time) {
	plain, ok := t.mean(now, func(i int) bool { return i == t.plain })
	if !ok {
		return
	}
	zstd := t.zstd
	if len(t.streams) > 1 {
		if zstd, ok = t.mean(now, func(i int) bool { return i != t.plain }); !ok {
			return
		}
	}
	t.settle(zstd > plain, max(plain, zstd)/max(min(plain, zstd), 1))
}

// rate is that of its last seconds, if it was at large files in them.
func (s *tried) rate(now time.Time) (float64, bool) {
	if len(s.marks) < 2 {
		return 0, false
	}
	first, last := s.marks[0], s.marks[len(s.marks)-1]
	span, reports, bytes := last.at.Sub(first.at), int64(last.reports-first.reports), last.bytes-first.bytes
	if now.Sub(last.at) > trialTime || span < trialTime || bytes < reports*trialFile && span < trialRare*time.Duration(reports) {
		return 0, false
	}
	return float64(bytes) / span.Seconds(), true
}

// settle has all go on in one way, if that is worth it.
func (t *trial) settle(zstd bool, gain float64) {
	t.decided = true
	if gain < trialGain {
		t.note = "zstd:1, a stream without it is no faster and no slower"
		return
	}
	t.note = fmt.Sprintf("no compression, %.1f times as fast", gain)
	if zstd {
		t.note = fmt.Sprintf("zstd:1, %.1f times as fast", gain)
	}
	t.all(zstd)
}

// all changes those over that are of the other kind.
func (t *trial) all(zstd bool) {
	for i := range t.streams {
		if t.streams[i].zstd != zstd {
			t.streams[i].to(zstd)
		}
	}
}

// to has a stream go on in the other way.
func (s *tried) to(zstd bool) {
	s.zstd, s.marks = zstd, nil
	if s.turn != nil {
		s.turn(errOtherWay)
	}
}

// result is what came out of it, for the report.
func (t *trial) result() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.decided {
		return "zstd:1"
	}
	return t.note
}

// said is what is known of it by now.
func (t *trial) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.note
}
