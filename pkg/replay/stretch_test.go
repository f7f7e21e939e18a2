package replay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// listed is a WAL directory as filesScript prints it: the files are of 16 MiB, and a
// history is given as "2: 1 0/4000500".
func listed(t *testing.T, wal, histories string) walFiles {
	t.Helper()
	var text strings.Builder
	for _, f := range strings.Fields(wal) {
		tli, segment, _ := strings.Cut(f, "/")
		fmt.Fprintf(&text, "wal %08s00000000%08s\n", tli, segment)
	}
	text.WriteString("size 16777216\n")
	for _, h := range strings.Split(histories, "; ") {
		if of, forks, ok := strings.Cut(h, ": "); ok {
			fmt.Fprintf(&text, "history %08s\n", of)
			for _, f := range strings.Split(forks, ", ") {
				fmt.Fprintf(&text, "= %s\tno recovery target specified\n", strings.Replace(f, " ", "\t", 1))
			}
			text.WriteString("= \n")
		}
	}
	d, err := filesIn(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheWALIsReadAsReplayGoesThroughItsTimelines(t *testing.T) {
	t.Parallel()
	const two = "2: 1 0/4000500"
	for _, c := range []struct {
		what, wal, histories string
		reached              int
		from, to             postgres.LSN
		want                 string
	}{
		{"one timeline", "1/3 1/4", "", 1, 0x3000028, 0x4000100, "1 0/3000028 known 0/4000100"},
		{"all that there is of it", "1/3 1/4", "", 1, 0x3000028, 0, "1 0/3000028 open "},
		{"1 is replayed and 2 received", "1/3 1/4 2/4 2/5", two, 2, 0x3000028, 0x5000100, "1 0/3000028 known 0/4000500, 2 0/4000500 known 0/5000100"},
		{"2 is on its disk, and the server has not met it since its start", "1/3 1/4 2/4 2/5", two, 1, 0x3000028, 0, "1 0/3000028 known 0/4000500, 2 0/4000500 open "},
		{"in the file where 2 begins, before that", "1/3 1/4 2/4", two, 2, 0x4000100, 0x4000600, "2 0/4000100 known 0/4000600"},
		{"in that file, of which 2 has not come", "1/3 1/4", two, 2, 0x4000100, 0x4000500, "1 0/4000100 known 0/4000500"},
		{"a file of 2 from before it began: another 2", "1/3 2/3 1/4 2/4", two, 2, 0x3000028, 0, "1 0/3000028 known 0/4000500, 2 0/4000500 open "},
		{"behind the fork", "1/4 2/4", two, 2, 0x4000500, 0, "2 0/4000500 open "},
		{"behind the fork, and the control file is not", "1/4 2/4 2/5", two, 1, 0x5000100, 0, "2 0/5000100 open "},
		{"a fork between two files", "1/3 2/4", "2: 1 0/4000000", 2, 0x3000028, 0x4000100, "1 0/3000028 known 0/4000000, 2 0/4000000 known 0/4000100"},
		{"three timelines", "1/3 1/4 2/4 2/5 3/5", two + "; 3: 1 0/4000500, 2 0/5000500", 3, 0x3000028, 0,
			"1 0/3000028 known 0/4000500, 2 0/4000500 known 0/5000500, 3 0/5000500 open "},
		{"of the second the file is there as one of the third", "1/3 3/4", two + "; 3: 1 0/4000500, 2 0/4000600", 3, 0x3000028, 0, "1 0/3000028 known 0/4000500, 3 0/4000500 open "},
		{"what was received ends in the second of three", "1/3 1/4 2/4 3/5", two + "; 3: 1 0/4000500, 2 0/5000500", 3, 0x3000028, 0x4000600,
			"1 0/3000028 known 0/4000500, 2 0/4000500 known 0/4000600"},
		{"a history whose WAL has not come", "1/3 1/4", two, 1, 0x3000028, 0, "1 0/3000028 open "},
		{"a fork before the position: another server's", "1/4 1/5", two, 1, 0x5000100, 0, "1 0/5000100 open "},
		{"a newer timeline that does not come from the one reached", "1/3 1/4 2/4", two + "; 3: 1 0/3000500", 2, 0x3000028, 0, "1 0/3000028 known 0/4000500, 2 0/4000500 open "},
		{"the timeline is not known", "1/3 1/4 2/4", two, 0, 0x3000028, 0, "1 0/3000028 known 0/4000500, 2 0/4000500 open "},
		{"the file is gone", "1/4", "", 1, 0x3000028, 0, ""},
		{"the history is gone", "1/3 2/4", "", 2, 0x3000028, 0, ""},
		{"no WAL", "", two, 2, 0x3000028, 0, ""},
	} {
		d := listed(t, c.wal, c.histories)
		var got []string
		for _, tip := range d.tips(c.reached) {
			for _, s := range d.along(d.line(tip), WALSource{From: c.from, To: c.to}) {
				got = append(got, s.line())
			}
			if len(got) > 0 {
				break
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestOfStretchesOnlyWhatLiesBetweenIsRead(t *testing.T) {
	t.Parallel()
	list := []stretch{{1, 10, 20, false}, {2, 20, 0, true}}
	for _, c := range []struct {
		from, to postgres.LSN
		want     []stretch
	}{
		{12, 18, []stretch{{1, 12, 18, false}}},
		{12, 20, []stretch{{1, 12, 20, false}}},
		{12, 30, []stretch{{1, 12, 20, false}, {2, 20, 30, true}}},
		{20, 30, []stretch{{2, 20, 30, true}}},
	} {
		if diff := cmp.Diff(c.want, clip(list, c.from, c.to)); diff != "" {
			t.Errorf("%d to %d (-want +got):\n%s", c.from, c.to, diff)
		}
	}
}
