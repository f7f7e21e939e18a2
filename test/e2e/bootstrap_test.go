package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

func TestBootstrapUnderLoadMakesAnEqualStandby(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{etc, dataDirectory} {
		t.Run(string(l), func(t *testing.T) {
			s := take(t, l)
			o := newOperator(t, s)
			stop := s.load(t)
			rep := apply(t, o, "h2")
			s.sameTables(t, "h2")
			stop()
			if rep.Noops == 0 || rep.Seconds <= 0 {
				t.Errorf("report: %+v", rep)
			}
			s.streams(t, "h2")
			s.undamaged(t, "h2")
			s.passwordIsInThePassfileAlone(t, "h2")
			s.logIsFreeOfFatal(t, "h2")
		})
	}
}

// apply bootstraps a host and returns the report.
func apply(t *testing.T, o *operator, name string) engine.Report {
	t.Helper()
	var rep engine.Report
	o.call("standby", "bootstrap", name, "--yes", "-o", "json").exits(0).decode(&rep)
	if rep.Status != journal.Succeeded {
		t.Errorf("status: %s", rep.Status)
	}
	return rep
}

func (s *site) passwordIsInThePassfileAlone(t *testing.T, name string) {
	t.Helper()
	password := s.password(t)
	pass := s.at(t, name, `cd /var/lib/postgresql/.pgrepctl; stat -c '%a %U %n' . *.pgpass; cat *.pgpass`)
	if !strings.HasPrefix(pass, "700 postgres .\n600 postgres "+s.lab.Name+".pgpass\n") || strings.Count(pass, password) != s.hosts {
		t.Errorf("passfile: %s", pass)
	}
	conninfo := s.sql(t, name, "postgres", "show primary_conninfo")
	if strings.Contains(conninfo, password) || strings.Contains(conninfo, "password=") || !strings.Contains(conninfo, "passfile=") {
		t.Errorf("primary_conninfo: %s", conninfo)
	}
}

func (s *site) password(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.lab.PasswordPath())
	s.do(t, err)
	return string(b)
}

// logIsFreeOfFatal: a walreceiver that cannot log in tries for ever, and says so
// nowhere else.
func (s *site) logIsFreeOfFatal(t *testing.T, name string) {
	t.Helper()
	if bad := s.at(t, name, `grep -e FATAL -e PANIC -e ERROR $log /var/lib/postgresql/.pgrepctl/*.log 2>/dev/null || true`); bad != "" {
		t.Errorf("log of %s:\n%s", name, bad)
	}
}

func TestDryRunChangesNothingAndListsWhatTheRunThenDoes(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{etc, dataDirectory} {
		t.Run(string(l), func(t *testing.T) {
			s := take(t, l)
			o := newOperator(t, s)
			was := s.before(t, strict)
			var pre ui.Preview
			o.call("standby", "bootstrap", "h2", "--dry-run", "-o", "json").exits(0).decode(&pre)
			s.unchanged(t, was, strict)
			if files, err := filepath.Glob(filepath.Join(o.journals(), "pgrepctl", "*", "*")); err != nil || len(files) > 0 {
				t.Errorf("a dry run has a journal: %v, %v", files, err)
			}
			rep := apply(t, o, "h2")
			if d := cmp.Diff(listed(pre), rep.Done); d != "" {
				t.Errorf("what the dry run listed and what the run did (-listed +did):\n%s", d)
			}
			if len(rep.Done) < 20 {
				t.Errorf("only %d effects", len(rep.Done))
			}
		})
	}
}

// listed are the effects of a preview, in the words of a report.
func listed(p ui.Preview) []string {
	var out []string
	for _, l := range p.Lines {
		for _, d := range l.Effects {
			on := d.Host
			if on == "" {
				on = l.Host
			}
			out = append(out, on+": "+d.String())
		}
	}
	return out
}

func TestSecondRunHasNothingToDoAndSaysWhy(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	apply(t, o, "h2")
	was := s.before(t, strict)
	var pre ui.Preview
	o.call("standby", "bootstrap", "h2", "--dry-run", "-o", "json").exits(0).decode(&pre)
	for _, l := range pre.Lines {
		if len(l.Effects) > 0 || l.Noop == "" {
			t.Errorf("%s %s: effects %v, reason %q", l.Host, l.Step, l.Effects, l.Noop)
		}
	}
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do", "streams from h1")
	// Another operator, who knows nothing of the first one's journal.
	newOperator(t, s).call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	s.unchanged(t, was, strict)
	if _, recs := o.records(); recs[len(recs)-1].Status != journal.Succeeded {
		t.Error("the second run wrote to the journal of the first")
	}
}

func TestUndoOfAFinishedRunLeavesBothHostsAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{etc, dataDirectory} {
		t.Run(string(l), func(t *testing.T) {
			s := take(t, l)
			o := newOperator(t, s)
			was := s.before(t, lenient)
			apply(t, o, "h2")
			o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
			s.unchanged(t, was, lenient)
			o.call("runs", "list").exits(0).says("undone")
		})
	}
}

func TestTwoStandbysStreamFromOnePrimary(t *testing.T) {
	s := take(t, etc)
	o := newOperator(t, s)
	apply(t, o, "h2")
	apply(t, o, "h3")
	s.eventually(t, "both stream", func() bool {
		return s.sql(t, "h1", "postgres", "select application_name, state from pg_stat_replication order by 1") == "h2|streaming\nh3|streaming"
	})
	s.sameTables(t, "h3")
	rules := s.at(t, "h1", "grep replicator $config/pg_hba.conf")
	for _, a := range []string{"10.77.0.12/32", "10.77.0.13/32"} {
		if strings.Count(rules, a) != 1 {
			t.Errorf("rules for %s in:\n%s", a, rules)
		}
	}
	s.clean(t)
}

func TestWithoutYesAndTerminalNothingIsDone(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	was := s.before(t, strict)
	o.call("standby", "bootstrap", "h2").exits(6).says("--yes")
	s.unchanged(t, was, strict)
}

func TestAStandbyThatCannotStreamSaysWhyAndGoesOnLater(t *testing.T) {
	t.Parallel()
	for _, l := range []layout{etc, dataDirectory} {
		t.Run(string(l), func(t *testing.T) {
			s := take(t, l)
			o := newOperator(t, s)
			o.call("plans", "export", "bootstrap-standby", filepath.Join(o.home, "mine.yaml")).exits(0)
			plan := strings.Replace(string(read(t, filepath.Join(o.home, "mine.yaml"))), "state: running}", "state: running, timeout: 8s}", 1)
			c := o.start("run", file(t, "mine.yaml", plan), "--set", "standby=h2", "--yes")
			// The login was proven. Without WAL the copy never becomes consistent.
			o.awaitRecord(c, func(r journal.Record) bool { return r.Type == journal.Done && r.Effect == "start-backup" })
			s.sql(t, "h1", "postgres", "alter role replicator nologin")
			c.wait().exits(1).says("did not answer within 8s", "FATAL:  could not connect to the primary server", "runs resume "+o.runID())
			s.sql(t, "h1", "postgres", "alter role replicator login")
			o.call("runs", "resume", o.runID(), "--yes").exits(0)
			s.streams(t, "h2")
		})
	}
}

func TestUserPlanOfTheSameStepsDoesTheSame(t *testing.T) {
	s := take(t, dataDirectory)
	o := newOperator(t, s)
	mine := filepath.Join(t.TempDir(), "mine.yaml")
	o.call("plans", "export", "bootstrap-standby", mine).exits(0)
	var theirs, ours ui.Preview
	o.call("standby", "bootstrap", "h2", "--dry-run", "-o", "json").exits(0).decode(&theirs)
	o.call("run", mine, "--set", "standby=h2", "--set", "compress=none", "--set", "commit-limit=none", "--dry-run", "-o", "json").exits(0).decode(&ours)
	if d := cmp.Diff(listed(theirs), listed(ours)); d != "" {
		t.Errorf("the exported plan does something else (-built-in +exported):\n%s", d)
	}
}
