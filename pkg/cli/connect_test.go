package cli

import (
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

func TestAHostWhoseConnectionWasLostIsReadOverTheNext(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := remote.Target{Name: "pg1", Address: s.Address, Port: s.Port, User: "tester", IdentityFiles: []string{s.Key.File},
		KnownHosts: []string{s.KnownHosts}, ConfigFile: "none", AgentSocket: "none"}
	c := &connections{inv: &inventory.Cluster{Hosts: []*inventory.Host{{Name: "pg1"}}}, pool: remote.NewPool([]remote.Target{to}), gatherers: map[string]gathering{}}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	first, err := c.gatherer(t.Context(), "pg1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.gatherer(t.Context(), "pg1"); err != nil || again != first {
		t.Errorf("another gatherer over the same connection (%v)", err)
	}
	h, err := c.Host(t.Context(), "pg1")
	if err != nil {
		t.Fatal(err)
	}
	s.CutAll()
	<-h.(*remote.Conn).Lost()
	if next, err := c.gatherer(t.Context(), "pg1"); err != nil || next == first {
		t.Errorf("the gatherer of a lost connection is kept (%v)", err)
	}
}
