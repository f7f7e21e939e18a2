package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/test/figures"
)

// TestRandomKills breaks bootstraps under load off at random times, resumes
// them, and breaks the resumption off too. Each round ends with an equal standby
// and is then undone to where it began; no commit that was acknowledged is ever
// missing.
func TestRandomKills(t *testing.T) {
	s := take(t, dataDirectory)
	k := &soak{s: s, chance: shared.seed(t), ledger: s.ledger(t), strikes: map[string]int{}}
	k.began = s.before(t, lenient)
	for n := range *shared.flags.soak {
		if !t.Run(fmt.Sprintf("round %d", n+1), k.round) {
			break // the hosts are left as they are
		}
		k.rounds++
	}
	k.report(t)
}

type soak struct {
	s      *site
	chance *rand.Rand
	ledger *ledger
	began  snapshot
	proof

	rounds, hits, missing int
	strikes               map[string]int
}

func (k *soak) round(t *testing.T) {
	s := k.s
	began := time.Now()
	defer func() { summary(t, began) }()
	o := newOperator(t, s)
	unload := s.stubbornLoad(t)
	k.hit(t, o, o.start("standby", "bootstrap", "h2", "--yes"))
	for k.unfinished(o) && k.chance.IntN(3) == 0 {
		k.hit(t, o, o.start("runs", "resume", o.runID(), "--yes"))
	}
	if k.unfinished(o) {
		o.insist("runs", "resume", o.runID(), "--yes").exits(0)
	} else {
		// It was finished, or had not begun: then this does it all.
		o.insist("standby", "bootstrap", "h2", "--yes").exits(0)
	}
	k.fenced(t, s)
	s.streams(t, "h2")
	none(t, &k.unequal, func() { s.sameTables(t, "h2") })
	unload()
	if lost := k.ledger.missing(t, "h1"); len(lost) > 0 {
		k.missing += len(lost)
		t.Errorf("h1 has not the acknowledged commits %v", lost)
	}
	// The last: one before it may have been cut off with nothing to resume.
	o.insist("runs", "undo", o.finished("bootstrap-standby")[0], "--yes").exits(0)
	none(t, &k.residue, func() { s.unchanged(t, k.began, lenient) })
}

func (k *soak) unfinished(o *operator) bool {
	sum, recs := o.records()
	// One that was cut off before it did anything owes nothing, and is not resumed.
	return recs != nil && sum.Open()
}

// hit lets a call run for a random time and strikes: half of the time it kills
// the tool, now and then it pulls a cable, which takes a minute.
func (k *soak) hit(t *testing.T, o *operator, c *calling) {
	t.Helper()
	var blow strike
	switch list := strikes(); {
	case k.chance.IntN(2) == 0:
		blow = list[0]
	default:
		for blow = list[k.chance.IntN(len(list))]; blow.back || blow.mute && k.chance.IntN(5) > 0; {
			blow = list[k.chance.IntN(len(list))]
		}
	}
	pause(time.Duration(k.chance.Int64N(int64(6 * time.Second))))
	if blow.possible != nil && k.s.at(t, "h2", "pgrep -x rsync || true") == "" {
		blow = strikes()[0]
	}
	if alive(c.cmd.Process.Pid) {
		k.hits++
		k.strikes[blow.name]++
		t.Logf("%v after %s: %s", c.args, time.Since(c.began).Round(time.Millisecond), blow.name)
		c.strike(t, k.s, blow)
	}
	if a := c.wait(); a.code == -1 && a.took >= callTimeout {
		t.Fatalf("%v hangs:\n%s%s", a.args, a.stdout, a.stderr)
	}
	k.fenced(t, k.s)
	if blow.mend != nil {
		blow.mend(t, k.s)
	}
}

// stubbornLoad is pgbench on h1, again and again: the server dies now and then.
func (s *site) stubbornLoad(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.lab.Run(ctx, "h1", []string{"setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups",
			"sh", "-c", "cd /; while :; do pgbench -n -c 2 -T 3600 -R 200 bench >/dev/null 2>&1; sleep 0.1; done"}, host.Stdio{})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		s.at(t, "h1", "pkill -KILL -f 'pgbench -n' || true") // and the shell that would start it again
	})
	t.Cleanup(stop)
	return stop
}

func (k *soak) report(t *testing.T) {
	t.Helper()
	var r figures.Report
	k.proof.report(&r)
	r.AtMost("acknowledged commits missing", float64(k.missing), "count", 0)
	r.AtMost("failed rounds", float64(*shared.flags.soak-k.rounds), "count", 0)
	r.Note("rounds", float64(k.rounds), "count")
	r.Note("acknowledged commits", float64(len(k.ledger.acknowledged(t))), "count")
	r.Note("struck", float64(k.hits), "count")
	for _, x := range strikes() {
		if !x.back {
			r.Note("struck: "+x.name, float64(k.strikes[x.name]), "count")
		}
	}
	k.s.do(t, r.Write(filepath.Join("..", "..", "build", "figures", "crash-soak.jsonl")))
	k.s.do(t, r.Table(os.Stdout))
}
