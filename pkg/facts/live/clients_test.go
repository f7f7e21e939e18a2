package live

import "testing"

// TestTheClientsOfAServerAreCounted: neither the session that counts is one, nor those of
// the roles to ignore.
func TestTheClientsOfAServerAreCounted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.start()
	g, _ := s.gatherer()
	ctx := contextOf(t)
	gather(t, g)
	count := func(want int, ignore ...string) {
		t.Helper()
		if n, err := g.Clients(ctx, ignore); err != nil || n != want {
			t.Errorf("%d clients without %q, want %d (%v)", n, ignore, want, err)
		}
	}
	count(0)
	reader, err := g.Session(ctx, "postgres", "app")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close(ctx) }()
	count(1)
	var who []struct {
		Role string `json:"role"`
	}
	if err := reader.Query(ctx, &who, "select current_user::text as role"); err != nil {
		t.Fatal(err)
	}
	count(0, who[0].Role)
}
