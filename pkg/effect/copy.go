package effect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/event"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Copy pulls one directory tree with rsync, from the host that Argv names. It
// runs as the owner of the target, leashed: it does not outlive its client.
type Copy struct {
	Host string   `json:"host"`
	As   string   `json:"as"`
	Argv []string `json:"argv"`
	// What is the subject shown: "data directory".
	What string `json:"what"`
	From string `json:"from"`
	Into string `json:"into"`
	// Fresh: the target directory was empty, so undo may empty it again, and
	// EmptiesWAL, where pg_wal leads to if that is elsewhere.
	Fresh      bool   `json:"fresh"`
	EmptiesWAL string `json:"empties_wal,omitempty"`
	// Slot on the host From keeps the WAL that the copy will need; the copy is
	// given up at once when the server invalidates it, or when the WAL that
	// it keeps is about to fill the disk.
	Slot string   `json:"slot,omitempty"`
	WAL  WALSpace `json:"wal"`
	// Total is the expected number of bytes, 0 when not known.
	Total int64 `json:"-"`

	// Source is the tablespace's location, or the data directory, on From.
	Source string `json:"-"`
	// Backup is where the WAL of the backup begins that it is made under.
	Backup string `json:"-"`

	Then func(*facts.Host) `json:"-"`
}

// CopiedUnder is the key of an output: the start of the backup under which a run
// has copied a tablespace, or the data directory, of a host.
func CopiedUnder(from, source string) string { return "copied." + from + ":" + source }

func (e *Copy) Kind() string { return "copy" }
func (e *Copy) On() string   { return e.Host }
func (e *Copy) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		then(h, e.Then)
	}
}

func (e *Copy) Describe() Description {
	d := Description{Verb: "copy", Subject: e.What, Detail: "from " + e.From + " into " + e.Into + " (rsync)"}
	if e.watchesSpace() {
		d.Detail = "from " + e.From + " into " + e.Into + " (rsync; gives up while " + e.From + " still has " + walReserve + " free for WAL)"
	}
	if !e.Fresh {
		d.NoReturn = "what " + e.Into + " held before is overwritten by what differs on " + e.From
	}
	return d
}

// Interruptible: it may last for hours, and what it has copied stays.
func (e *Copy) Interruptible() bool { return true }

func (e *Copy) Inverse() Effect {
	if !e.Fresh {
		return nil
	}
	return &EmptyDirectory{Host: e.Host, As: e.As, Path: e.Into, WAL: e.EmptiesWAL}
}

// rsyncVanished is rsync's exit code for files that were gone when their turn
// came: usual on a live server, where tables are dropped. Once the copy is run
// again and sees the same, or nothing, it is complete. 23 is never accepted:
// it hides real read errors.
const rsyncVanished = 24

func (e *Copy) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	ctx, unwatch := e.watch(ctx, env)
	defer unwatch()
	for try := 0; ; try++ {
		pr, pw := io.Pipe()
		read := make(chan struct{})
		go func() {
			defer close(read)
			progress(pr, e.Total, env.Progress)
		}()
		start := time.Now()
		err := h.Run(ctx, host.Cmd{Argv: e.Argv, As: e.As, Leash: true}, host.Stdio{Out: pw})
		_ = pw.Close()
		<-read
		var exit *host.ExitError
		if errors.As(err, &exit) && exit.Code == rsyncVanished && try == 0 {
			env.Warn(e.Host, "files vanished while they were copied (dropped tables); checking once more")
			continue
		}
		if errors.As(err, &exit) && exit.Code == rsyncVanished {
			err = nil
		}
		if err != nil {
			return nil, e.explain(ctx, err)
		}
		return Output{"copy.seconds." + path.Base(e.Into): fmt.Sprintf("%.2f", time.Since(start).Seconds()), CopiedUnder(e.From, e.Source): e.Backup}, nil
	}
}

func (e *Copy) explain(ctx context.Context, err error) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "copy " + e.What + " from " + e.From, Err: err,
		Stderr: host.Tail(host.StderrOf(err), 5),
		State:  "the copy on " + e.Host + " has no pg_control, so it cannot start; what was copied stays"}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		f.Err = cause
	}
	return f
}

// progressInterval: of many small files rsync prints a line each, thousands a
// second, and every one of them would stand in the log of a run.
const progressInterval = 200 * time.Millisecond

var progressLine = regexp.MustCompile(`^\s*([0-9,.]+)\s+([0-9]+)%`)

// progress reads what `rsync --info=progress2 --outbuf=L` prints: lines ended
// by CR that begin with the bytes so far.
func progress(r io.Reader, total int64, emit func(event.Progress)) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), 1<<20)
	sc.Split(func(data []byte, eof bool) (int, []byte, error) {
		if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
			return i + 1, data[:i], nil
		}
		if eof && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	var last time.Time
	var held *event.Progress
	for sc.Scan() {
		m := progressLine.FindSubmatch(sc.Bytes())
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.NewReplacer(",", "", ".", "").Replace(string(m[1])), 10, 64)
		if err != nil {
			continue
		}
		p := event.Progress{Bytes: n, Total: total}
		if time.Since(last) < progressInterval {
			held = &p
			continue
		}
		emit(p)
		last, held = time.Now(), nil
	}
	if held != nil {
		emit(*held)
	}
	_, _ = io.Copy(io.Discard, r)
}
