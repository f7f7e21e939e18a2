package effect

import (
	"bufio"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
)

// progressInterval: of many small files rsync prints a line each, thousands a
// second, and every one of them would stand in the log of a run.
const progressInterval = 200 * time.Millisecond

// meter adds up what the streams of a copy have done.
type meter struct {
	mu     sync.Mutex
	total  int64
	note   func() string
	emit   func(event.Progress)
	have   int64   // bytes that were there, and are passed over
	before []int64 // of each stream, what its earlier runs have brought
	bytes  []int64 // of each stream, with that
	last   time.Time
	behind bool // the last change was not told yet
}

func newMeter(total int64, streams int, note func() string, emit func(event.Progress)) *meter {
	return &meter{total: total, note: note, emit: emit, before: make([]int64, streams), bytes: make([]int64, streams)}
}

// passed: so many bytes were there, and are passed over.
func (m *meter) passed(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.have = n
	m.behind = m.behind || n > 0
}

// again: a stream begins again, and passes over what it has brought, which rsync does
// not count.
func (m *meter) again(stream int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before[stream] = m.bytes[stream]
}

// set takes what a run of a stream has done. One that begins again and looks at all that
// it has before it goes on is no step back.
func (m *meter) set(stream int, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n += m.before[stream]
	if n <= m.bytes[stream] {
		return
	}
	m.bytes[stream] = n
	if m.behind = time.Since(m.last) < progressInterval; !m.behind {
		m.tell()
	}
}

func (m *meter) tell() {
	m.emit(event.Progress{Bytes: m.sum(), Total: m.total, Note: m.note()})
	m.last, m.behind = time.Now(), false
}

func (m *meter) sum() int64 {
	n := m.have
	for _, b := range m.bytes {
		n += b
	}
	if m.total > 0 && (m.have > 0 || slices.Max(m.before) > 0) { // what a run was at when it ended comes twice
		n = min(n, m.total)
	}
	return n
}

// end tells what was kept back.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.behind {
		m.tell()
	}
}

var progressLine = regexp.MustCompile(`^\s*([0-9,.]+)\s+([0-9]+)%`)

// readProgress reads what `rsync --info=progress2 --outbuf=L` prints: lines ended
// by CR that begin with the bytes so far.
func readProgress(r io.Reader, set func(int64)) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), 1<<20)
	sc.Split(items("\r\n"))
	for sc.Scan() {
		m := progressLine.FindSubmatch(sc.Bytes())
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.NewReplacer(",", "", ".", "").Replace(string(m[1])), 10, 64)
		if err == nil {
			set(n)
		}
	}
	_, _ = io.Copy(io.Discard, r)
}
