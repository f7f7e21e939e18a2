package live

import (
	"testing"
)

func TestASessionThatIsSparedIsTheNextOnesUnlessItWasLost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, h := s.gatherer()
	ctx := contextOf(t)
	type who struct {
		PID         int    `json:"pid"`
		Database    string `json:"database"`
		Application string `json:"application"`
	}
	ask := func(application string) who {
		t.Helper()
		sql, err := g.Session(ctx, "template1", application)
		if err != nil {
			t.Fatal(err)
		}
		var rows []who
		if err := sql.Query(ctx, &rows, "select pg_backend_pid() as pid, current_database() as database, current_setting('application_name') as application"); err != nil {
			t.Fatal(err)
		}
		g.Spare(ctx, "template1", sql)
		return rows[0]
	}
	first, second := ask("pgrepctl check"), ask("pgrepctl 'run'")
	if first.Database != "template1" || first.Application != "pgrepctl check" || second.Application != "pgrepctl 'run'" || second.PID != first.PID {
		t.Errorf("first %+v, then %+v", first, second)
	}
	if n := h.sessions.Load(); n != 1 {
		t.Errorf("%d sessions for two that came one after the other", n)
	}
	// Who reads the server has it too.
	sql, err := g.Session(ctx, "postgres", "pgrepctl start")
	if err != nil {
		t.Fatal(err)
	}
	g.Spare(ctx, "postgres", sql)
	if _, err := g.Gather(ctx); err != nil {
		t.Fatal(err)
	}
	if n := h.sessions.Load(); n != 2 {
		t.Errorf("%d sessions, one of them to read what could be read by one that was there", n)
	}
	s.stop("immediate")
	s.start()
	if third := ask("pgrepctl"); third.PID == second.PID {
		t.Errorf("it is that of a server that is gone: %+v", third)
	}
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(g.spare); n != 0 {
		t.Errorf("%d are left", n)
	}
}
