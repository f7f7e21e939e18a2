package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// stretch is WAL of one timeline: pg_waldump reads the files of one, and follows no
// history, in every version up to 18.
type stretch struct {
	Timeline int
	From, To postgres.LSN // To 0: all that there is
	// Open: where it ends is not known, and pg_waldump runs off its end.
	Open bool
}

// line is a stretch as dumpScript reads it. No word of it comes from the host.
func (s stretch) line() string {
	end, to := "known", ""
	if s.Open {
		end = "open"
	}
	if s.To != 0 {
		to = s.To.String()
	}
	return fmt.Sprintf("%d %s %s %s", s.Timeline, s.From, end, to)
}

// clip is what of stretches lies between two positions.
func clip(list []stretch, from, to postgres.LSN) []stretch {
	var out []stretch
	for _, s := range list {
		s.From = max(s.From, from)
		if s.To == 0 || s.To > to {
			s.To = to
		}
		if s.From < s.To {
			out = append(out, s)
		}
	}
	return out
}

// stretches are the WAL of a source, as replay goes through it. There is at least one,
// or it is said why.
func (w WALSource) stretches(ctx context.Context, r host.Runner) ([]stretch, error) {
	text, _, err := w.run(ctx, r, filesScript, []string{w.Program, w.Dir})
	if err != nil {
		return nil, err
	}
	files, err := filesIn(text)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrUnread, w, err)
	}
	for _, tip := range files.tips(w.Timeline) {
		if list := files.along(files.line(tip), w); len(list) > 0 {
			return list, nil
		}
	}
	return nil, fmt.Errorf("%w %s: %s has no file with %s, of timeline %d or one before it", ErrUnread, w, w.Dir, w.From, w.Timeline)
}

// noProgram is what filesScript ends with when there is no pg_waldump.
const noProgram = 125

// filesScript lists the WAL files, the size of one, and the timeline history files. The
// newest file is measured: an old one may be recycled meanwhile.
const filesScript = `
LC_ALL=C
export LC_ALL
[ -f "$1" ] && [ -x "$1" ] || exit 125
cd "$2" || exit 1
last=
for f in *; do
	case $f in
	*[!0-9A-F]*) ;;
	????????????????????????) echo "wal $f"; last=$f ;;
	esac
done
[ -z "$last" ] || stat -c 'size %s' "$last" || exit 1
for f in ????????.history; do
	[ -f "$f" ] || continue
	echo "history ${f%.history}"
	sed 's/^/= /' "$f" || exit 1
done
`

// walFiles are the files of a WAL directory.
type walFiles struct {
	size      uint64 // of each: wal_segment_size
	names     map[string]bool
	histories map[int][]postgres.Fork // of a timeline: where those before it ended
}

// filesIn reads what filesScript printed.
func filesIn(text string) (walFiles, error) {
	d := walFiles{names: map[string]bool{}, histories: map[int][]postgres.Fork{}}
	of, err := 0, error(nil)
	for line := range strings.Lines(text) {
		kind, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "wal":
			d.names[value] = true
		case "size":
			if d.size, err = strconv.ParseUint(value, 10, 64); err != nil {
				return d, fmt.Errorf("the size of a WAL file is %q", value)
			}
		case "history":
			if of, err = timelineOf(value); err != nil {
				return d, err
			}
			d.histories[of] = nil
		case "=":
			forks, err := postgres.ParseHistory(value)
			if err != nil {
				return d, fmt.Errorf("%08X.history: %w", of, err)
			}
			d.histories[of] = append(d.histories[of], forks...)
		}
	}
	return d, nil
}

// timelineOf reads the eight digits that the name of a WAL file or a history begins with.
func timelineOf(name string) (int, error) {
	tli, err := strconv.ParseUint(name[:min(8, len(name))], 16, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is no timeline", name)
	}
	return int(tli), nil
}

// tips are the timelines that replay may be on its way to, newest first, as
// recovery_target_timeline = latest has it: those that come from the one reached.
func (d walFiles) tips(reached int) []int {
	all := map[int]bool{}
	for tli := range d.histories {
		all[tli] = true
	}
	for name := range d.names {
		if tli, err := timelineOf(name); err == nil {
			all[tli] = true
		}
	}
	from := func(tli int) bool {
		return slices.ContainsFunc(d.line(tli), func(f postgres.Fork) bool { return f.Timeline == reached })
	}
	maps.DeleteFunc(all, func(tli int, _ bool) bool { return reached != 0 && !from(tli) })
	out := slices.Sorted(maps.Keys(all))
	slices.Reverse(out)
	return out
}

// line is a timeline and those before it, oldest first, each with the LSN where it
// ends: 0 of the last.
func (d walFiles) line(tip int) []postgres.Fork {
	return append(slices.Clone(d.histories[tip]), postgres.Fork{Timeline: tip})
}

// along are the stretches of a source along a line; none when the line does not have
// the file that From is in. A timeline whose WAL has not come is not gone on to.
func (d walFiles) along(line []postgres.Fork, w WALSource) []stretch {
	var out []stretch
	from := w.From
	for i := d.holds(line, from); i >= 0; {
		end, next := line[i].LSN, -1
		if end != 0 && (w.To == 0 || w.To > end) {
			next = d.holds(line, end)
		}
		if next < 0 {
			return append(out, stretch{Timeline: line[i].Timeline, From: from, To: w.To, Open: w.To == 0})
		}
		out = append(out, stretch{Timeline: line[i].Timeline, From: from, To: end})
		from, i = end, next
	}
	return out
}

// holds is the place in a line of the timeline whose file recovery takes for a
// position: the newest that begins in that file or before, and has it (XLogFileReadAnyTLI,
// 9.4 to 18). The file in which a timeline begins has the end of the one before in it.
func (d walFiles) holds(line []postgres.Fork, at postgres.LSN) int {
	for i := len(line) - 1; i >= 0; i-- {
		if i > 0 && d.segment(line[i-1].LSN) > d.segment(at) || line[i].LSN != 0 && line[i].LSN <= at {
			continue
		}
		name, err := postgres.SegmentName(uint32(line[i].Timeline), at, d.size) //nolint:gosec // 31 bits
		if err == nil && d.names[name] {
			return i
		}
	}
	return -1
}

// segment is the number of the file that holds a position.
func (d walFiles) segment(at postgres.LSN) uint64 { return uint64(at) / max(d.size, 1) }
