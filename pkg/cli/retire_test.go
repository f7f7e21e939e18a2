package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func TestADelayedDownstreamThatWasNotWaitedForIsNamed(t *testing.T) {
	t.Parallel()
	inv := cluster(t, strings.Replace(cascade, "upstream: pg2}", "upstream: pg2, apply_delay: 2h}", 1))
	for host, want := range map[string]string{
		"pg2": "when pg3 has replayed what it has, 2h0m0s late as it should, to prove that it streams from pg4: pgrepctl standby verify pg3",
		"pg3": "",
	} {
		r := retirement{host: host, repointTo: "pg4"}
		out := strings.Join(r.next(inv, hostOf(inv, host)), "\n")
		if !strings.Contains(out, want) || strings.Contains(out, "standby verify") != (want != "") {
			t.Errorf("%s: want %q in:\n%s", host, want, out)
		}
	}
}

func TestADownstreamThatWasLeftOutIsNotSaidToHaveMoved(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	r := retirement{host: "pg2", repointTo: "pg4", gone: true, without: []string{"pg3"}}
	out := strings.Join(r.next(inv, hostOf(inv, "pg2")), "\n")
	const want = "not re-pointed: pg3 is still set to pg2, and nothing keeps WAL for it: once it answers, say upstream: pg4 for it in the inventory, then: pgrepctl standby bootstrap pg3"
	if !strings.Contains(out, want) || strings.Contains(out, "shop.yaml, say upstream") {
		t.Errorf("want %q in:\n%s", want, out)
	}
	r.without = []string{"pg5"} // of pg3: it stays where it is
	if out := strings.Join(r.next(inv, hostOf(inv, "pg2")), "\n"); strings.Contains(out, "not re-pointed") || !strings.Contains(out, "say upstream: pg4 for pg3") {
		t.Error(out)
	}
}

func TestAHostThatIsToBeRepointedIsNotToldToBeLeftOut(t *testing.T) {
	t.Parallel()
	inv := cluster(t, cascade)
	for name, c := range map[string]struct {
		r    retirement
		away []string
		want string
	}{
		"a downstream": {retirement{host: "pg2", repointTo: "pg1"}, []string{"pg3"},
			"pg3 streams from pg2 in the inventory, and would be cut off: let pg3 be reached first; if pg3 is lost for good, first: pgrepctl standby retire pg3 --gone"},
		"a downstream of one that is gone": {retirement{host: "pg2", repointTo: "pg1", gone: true, without: []string{"pg4"}}, []string{"pg3"},
			"pg3 streams from pg2 in the inventory, and would be cut off: let pg3 be reached first; if that cannot be: the same command with --without pg4,pg3, which leaves pg3 set to pg2"},
		"another one": {retirement{host: "pg2", repointTo: "pg1"}, []string{"pg4"}, "to leave out what may be on pg4: the same command with --without pg4"},
		"itself, and a downstream, which cannot leave before it": {retirement{host: "pg2", repointTo: "pg1"}, []string{"pg2", "pg3"},
			"if pg2 is lost for good: pgrepctl standby retire pg2 --gone; pg3 streams from pg2 in the inventory, and would be cut off: let pg3 be reached first"},
		"a downstream, and another one": {retirement{host: "pg2", repointTo: "pg1"}, []string{"pg3", "pg4"},
			"to leave out what may be on pg4: the same command with --without pg4; pg3 streams from pg2 in the inventory, and would be cut off: let pg3 be reached first; if pg3 is lost for good, first: pgrepctl standby retire pg3 --gone"},
		"itself": {retirement{host: "pg2"}, []string{"pg2"}, "if it is lost for good: pgrepctl standby retire pg2 --gone"},
	} {
		away := &fault.Error{Class: fault.Unreachable, Host: c.away[0], Err: errors.New("no route to host")}
		if len(c.away) > 1 {
			away = &fault.Error{Class: fault.Unreachable, Err: &engine.Away{Hosts: c.away}}
		}
		err := c.r.explain(inv, away)
		var f *fault.Error
		if !errors.As(err, &f) || f.Hint != c.want {
			t.Errorf("%s: %+v\nwant %s", name, err, c.want)
		}
	}
}
