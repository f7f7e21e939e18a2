package effect_test

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/host/hosttest"
)

// journalled is an inverse as a journal has it.
func journalled(t *testing.T, e effect.Effect) effect.Effect {
	t.Helper()
	raw, err := effect.Encode(e.Inverse())
	if err != nil {
		t.Fatal(err)
	}
	back, err := effect.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// TestAServerThatSomebodyElseHasTakenOverIsLeftToHim: its disk has failed since it was drained,
// say, and he has put it into maintenance. What its check says is no act of anybody.
func TestAServerThatSomebodyElseHasTakenOverIsLeftToHim(t *testing.T) {
	t.Parallel()
	const down, drain, maint, ready = "0", "8", "1", "0"
	drained := effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "ready"}
	elsewhere, restored := drained, drained
	elsewhere.Standby = "db2"
	restored.To, restored.Was, restored.Serve, restored.Asked = "ready", "drain", true, true
	for name, c := range map[string]struct {
		e     effect.Balance
		is    string
		told  string
		warns string
	}{
		"it is as the run has left it":                      {drained, drain, "ready", ""},
		"HAProxy was reloaded, and has forgotten the drain": {drained, ready, "ready", ""},
		"he has put it into maintenance":                    {drained, maint, "", "reads/pg2 is in maint, and this run expects drain: somebody else has put it there, and it stays so; to let reads in: pgrepctl traffic restore pg2"},
		"it has another name in the inventory":              {elsewhere, maint, "", "reads/pg2 is in maint, and this run expects drain: somebody else has put it there, and it stays so; to let reads in: pgrepctl traffic restore db2"},
		"of one that was let in":                            {restored, maint, "", "reads/pg2 is in maint, and this run expects ready: somebody else has put it there, and it stays so; to let reads in: pgrepctl traffic restore pg2"},
		"of one that was let in, and is":                    {restored, ready, "drain", ""},
	} {
		for what, back := range map[string]effect.Effect{"": c.e.Inverse(), ", from a journal": journalled(t, &c.e)} {
			lb := haproxy(c.is, "0")
			lb[0].Out = strings.Replace(lb[0].Out, "pg2 2 ", "pg2 "+down+" ", 1)
			if c.told != "" {
				lb = append(append(lb, hosttest.Call{Do: "tell /run/s set server reads/pg2 state " + c.told}), haproxy(map[string]string{"ready": ready, "drain": drain}[c.told], "0")...)
			}
			in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), lb...))
			do(t, back, in)
			if got := strings.Join(in.warnings, "|"); got != c.warns {
				t.Errorf("%s%s: warned of %q", name, what, got)
			}
			if b := back.(*effect.Balance); b.Known() != (c.warns == "") {
				t.Errorf("%s%s: what became of it counts as known: %t", name, what, b.Known())
			}
		}
	}
}

// TestAnOperatorLetsReadsInWhoeverHasKeptThemAway: he is asked, and is shown what it is.
func TestAnOperatorLetsReadsInWhoeverHasKeptThemAway(t *testing.T) {
	t.Parallel()
	e := &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "ready", Was: "drain", Serve: true, Asked: true}
	do(t, e, newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), append([]hosttest.Call{{Do: "tell /run/s set server reads/pg2 state ready"}}, haproxy("0", "0")...)...)))
	fs := hosttest.NewFS("/run")
	fs.Put("/run/drained", "postgres", 0o644, "by hand\n")
	do(t, &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n", Serve: true, Asked: true}, newEnv(hosttest.NewScript(t, "pg2", fs)))
	if fs.Has("/run/drained") {
		t.Error("the file is there")
	}
}

// TestAHealthFileThatSomebodyElseHasWrittenStays: only the text tells whose it is.
func TestAHealthFileThatSomebodyElseHasWrittenStays(t *testing.T) {
	t.Parallel()
	drained := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n"}
	restored := &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "by anna\n", Serve: true, Asked: true}
	for name, c := range map[string]struct {
		e         *effect.HealthFile
		is, after string // "" is no file
		warns     bool
	}{
		"it is the run's":                  {drained, "run1\n", "", false},
		"somebody has removed it":          {drained, "", "", false},
		"somebody has written another one": {drained, "run1\nits disk fails, Bob\n", "run1\nits disk fails, Bob\n", true},
		"it is that of another run":        {drained, "run2\n", "run2\n", true},
		"it was removed by the run":        {restored, "", "by anna\n", false},
		"it was removed, and is back":      {restored, "by anna\n", "by anna\n", false},
		"it was removed, and is another's": {restored, "by bob\n", "by bob\n", true},
	} {
		for what, back := range map[string]effect.Effect{"": c.e.Inverse(), ", from a journal": journalled(t, c.e)} {
			fs := hosttest.NewFS("/run")
			if c.is != "" {
				fs.Put("/run/drained", "postgres", 0o644, c.is)
			}
			in := newEnv(hosttest.NewScript(t, "pg2", fs))
			do(t, back, in)
			if got, _ := fs.Get("/run/drained"); got != c.after {
				t.Errorf("%s%s: it says %q", name, what, got)
			}
			want := ""
			if c.warns {
				want = "/run/drained does not say what this run expects: somebody else has made it, and it stays, so that reads are kept away; to let them in: pgrepctl traffic restore pg2"
			}
			if got := strings.Join(in.warnings, "|"); got != want {
				t.Errorf("%s%s: warned of %q", name, what, got)
			}
		}
	}
}

// TestALinkInPlaceOfAHealthFileIsNotRemoved: the run makes none.
func TestALinkInPlaceOfAHealthFileIsNotRemoved(t *testing.T) {
	t.Parallel()
	fs := hosttest.NewFS("/run")
	if err := fs.Files("").Symlink(t.Context(), "/etc/drained", "/run/drained"); err != nil {
		t.Fatal(err)
	}
	start := fs.Dump("/")
	in := newEnv(hosttest.NewScript(t, "pg2", fs))
	do(t, (&effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n"}).Inverse(), in)
	if now := fs.Dump("/"); now != start || len(in.warnings) != 1 {
		t.Errorf("warned of %q, and it left:\n%s", in.warnings, now)
	}
}

// TestADrainPutsNothingInPlaceOfWhatSomebodyElseHasMadeMeanwhile: what it was planned from may
// be minutes old, and its inverse would take his work away.
func TestADrainPutsNothingInPlaceOfWhatSomebodyElseHasMadeMeanwhile(t *testing.T) {
	t.Parallel()
	in := newEnv(hosttest.NewScript(t, "lb", hosttest.NewFS(), haproxy("1", "0")...))
	do(t, &effect.Balance{Host: "lb", Socket: "/run/s", Backend: "reads", Server: "pg2", To: "drain", Was: "ready", Others: 1}, in)
	if len(in.warnings) != 1 {
		t.Errorf("warned of %q", in.warnings)
	}
	fs := hosttest.NewFS("/run")
	fs.Put("/run/drained", "postgres", 0o644, "by hand\n")
	in = newEnv(hosttest.NewScript(t, "pg2", fs))
	do(t, &effect.HealthFile{Host: "pg2", As: "postgres", Path: "/run/drained", Text: "run1\n"}, in)
	if got, _ := fs.Get("/run/drained"); got != "by hand\n" || len(in.warnings) != 1 {
		t.Errorf("warned of %q, and it says %q", in.warnings, got)
	}
}
