package doctor

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

func TestSpaceIsAskedForOnceAndOnlyWithTablespaces(t *testing.T) {
	t.Parallel()
	l := newLab()
	l.examine(t)
	if l.src2.asked != 0 {
		t.Errorf("without tablespaces: %d questions", l.src2.asked)
	}
	l.disks("1", 1<<40, "2", 1<<40)
	l.pg1.Server.Tablespaces = append(l.pg1.Server.Tablespaces, facts.Tablespace{OID: 2, Name: "b", Location: "/ts/b"})
	l.examine(t)
	if l.src2.asked != 1 {
		t.Errorf("with two: %d questions", l.src2.asked)
	}
}

func TestSpaceSaysWhatGoesWhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		damage func(*lab)
		want   string
	}{
		{func(l *lab) { l.pg2.Machine.FreeBytes = 7 }, "7 B are free, 1.10 GB are needed (the databases of pg1 and a tenth more)"},
		{func(l *lab) { l.disks("1", 1<<40, "2", 7) }, "7 B are free, 330 MB are needed (for /ts/a and a tenth more)"},
		{func(l *lab) { l.disks("1", 7, "1", 7) }, "7 B are free, 1.10 GB are needed (for /ts/a and /srv/pg/data and a tenth more)"},
	} {
		l := newLab()
		c.damage(l)
		got := l.examine(t)
		if len(got) != 1 || got[0].Found != c.want {
			t.Errorf("got %+v, want %s", got, c.want)
		}
	}
}
