package remote_test

import (
	"os"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/remote"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

func TestDroppedHostIsDialedAgainByWhatKnownHostsSaysThen(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	to := target(s)
	pool := remote.NewPool([]remote.Target{to})
	t.Cleanup(func() { _ = pool.Close() })
	again := func() {
		t.Helper()
		if err := pool.Drop("pg1"); err != nil {
			t.Error(err)
		}
		h, err := pool.Dial(limited(t), "pg1")
		if err != nil {
			t.Fatal(err)
		}
		works(t, h)
	}
	again()
	again()
	if s.Accepted() != 2 || pool.Connections("pg1") != 2 {
		t.Errorf("%d connections, counted %d", s.Accepted(), pool.Connections("pg1"))
	}

	// The host was made anew, and its new key written down.
	key := remotetest.NewKey(t).Signer
	s.ChangeHostKey(key)
	line := remotetest.KnownHostsLine(s.Address, s.Port, key.PublicKey())
	remotetest.WriteFile(t, to.KnownHosts[0], []byte("# made anew\n"+line+"\n"))
	again()

	if err := os.Remove(to.KnownHosts[0]); err != nil {
		t.Fatal(err)
	}
	_ = pool.Drop("pg1")
	if _, err := pool.Dial(limited(t), "pg1"); fault.ClassOf(err) != fault.Auth {
		t.Errorf("a host that is no longer known: %v", err)
	}
	if err := pool.Drop("pg9"); err == nil {
		t.Error("an unknown host was dropped")
	}
}
