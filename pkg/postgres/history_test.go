package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHistoryFileSaysWhereEachTimelineEnded(t *testing.T) {
	t.Parallel()
	got, err := ParseHistory("1\t0/3000060\tno recovery target specified\n\n# a note\n2\t1/A0\tbefore 2000-01-01 00:00:00+00\n")
	if diff := cmp.Diff([]Fork{{1, 0x3000060}, {2, 0x1000000A0}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{"1\n", "x 0/1\n", "1 nowhere\n"} {
		if _, err := ParseHistory(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
