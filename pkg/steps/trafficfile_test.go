package steps_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// fileOnly is a cluster of which no balancer can be asked.
const fileOnly = `
cluster: shop
postgres: {version: 15, data_directory: /var/lib/postgresql/15/main, config_directory: /etc/postgresql/15/main}
replication: {password: {env: PW}}
traffic:
  ignore_users: monitor
  balancers:
    check: {kind: file, path: /run/drained, settle: 3s}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: 10.0.0.12, role: standby}
  pg3: {address: 10.0.0.13, role: standby}
  pg4: {address: 10.0.0.14, role: standby, apply_delay: 1h, traffic: none}
`

// counting is a source that counts clients, too.
type counting struct {
	*source
	clients int
	err     error
	ignored []string
}

func (c *counting) Clients(_ context.Context, ignore []string) (int, error) {
	c.ignored = ignore
	return c.clients, c.err
}

// byFile is a step's view of that cluster at a host; change says what differs.
func byFile(t *testing.T, text, self string, files map[string]map[string]string, change func(cast, *inventory.Cluster)) steps.In {
	t.Helper()
	inv, err := inventory.Parse("pgrepctl.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	replay := map[string]any{"receiver_status": "streaming", "pause_state": "not paused"}
	s := scene{Files: files, Facts: map[string]any{"pg1": map[string]any{"server": map[string]any{"running": true, "version": 150004, "timeline": 1}}}}
	for _, x := range inv.Standbys() {
		s.Facts[x.Name] = map[string]any{"server": map[string]any{"running": true, "version": 150004, "in_recovery": true, "timeline": 1, "lsn": "0/5000000", "replay": replay}}
	}
	c := newCast(t, inv, scene{}, s)
	if change != nil {
		change(c, inv)
	}
	x, _ := inv.Host(self)
	return steps.In{Cluster: inv, Self: x, Facts: c, Run: &running{scene{Claims: []string{"reads of pg2 by /run/drained"}}}}
}

// TestTheWaitOfADrainByFileKnowsTheOthers: also when this run made the file before, and
// goes on with the wait.
func TestTheWaitOfADrainByFileKnowsTheOthers(t *testing.T) {
	t.Parallel()
	haproxy := strings.Replace(fileOnly, "    check:", "    lb: {kind: haproxy, address: 10.0.0.9, os_user: haproxy, socket: /run/haproxy/admin.sock, backend: reads}\n    check:", 1)
	file := map[string]string{"/run/drained": "drained\n"}
	for name, c := range map[string]struct {
		text  string
		step  steps.Traffic
		files map[string]map[string]string
		want  []string // nil: it does not look
	}{
		"its file is made now":     {fileOnly, steps.Traffic{}, nil, []string{"pg3"}},
		"its file is made already": {fileOnly, steps.Traffic{}, map[string]map[string]string{"pg2": file}, []string{"pg3"}},
		"nobody serves by then":    {fileOnly, steps.Traffic{}, map[string]map[string]string{"pg2": file, "pg3": file}, []string{}},
		"it may be the last":       {fileOnly, steps.Traffic{IfLast: "drain"}, nil, nil},
		"a balancer can be asked":  {haproxy, steps.Traffic{}, nil, nil},
	} {
		in := byFile(t, c.text, "pg2", c.files, func(c cast, _ *inventory.Cluster) {
			if lb := c["lb"]; lb != nil {
				lb.Balanced = []facts.Balanced{{Backend: "reads", Name: "pg2", State: facts.Serving, Admin: "ready"}, {Backend: "reads", Name: "pg3", State: facts.Serving, Admin: "ready"}}
			}
		})
		c.step.State = "drained"
		p, err := c.step.Plan(t.Context(), in)
		if err != nil || len(p.Effects) == 0 {
			t.Errorf("%s: %+v %v", name, p, err)
			continue
		}
		wait, ok := p.Effects[len(p.Effects)-1].(*effect.AwaitDrained)
		switch {
		case !ok:
			t.Errorf("%s: it ends with %s", name, p.Effects[len(p.Effects)-1].Describe())
		case c.want == nil && len(wait.Files) > 0:
			t.Errorf("%s: it looks at %+v", name, wait.Files)
		case c.want == nil:
		case len(wait.Files) != 1 || wait.Others != 1 || wait.Files[0].Path != "/run/drained" || !slices.Equal(slices.Sorted(maps.Keys(wait.Files[0].Others)), c.want):
			t.Errorf("%s: %d of %+v must serve, want %v", name, wait.Others, wait.Files, c.want)
		}
	}
}

// TestARolloutIsRefusedBesideReadersOfAStandbyThatAFileKeepsOut: only its server knows them.
func TestARolloutIsRefusedBesideReadersOfAStandbyThatAFileKeepsOut(t *testing.T) {
	t.Parallel()
	kept := map[string]map[string]string{"pg3": {"/run/drained": "by hand\n"}}
	all := map[string]map[string]string{"pg2": kept["pg3"], "pg3": kept["pg3"]}
	for name, c := range map[string]struct {
		counts *counting
		files  map[string]map[string]string
		change func(cast, *inventory.Cluster)
		step   steps.Deployable
		want   string // of the refusal; empty: there is none
	}{
		"it has readers":        {&counting{clients: 2}, kept, nil, steps.Deployable{Second: "pg2"}, "pg3: its server still has 2 clients, and it takes no part: /run/drained keeps new reads away"},
		"nobody reads there":    {&counting{}, kept, nil, steps.Deployable{Second: "pg2"}, ""},
		"its file is gone":      {&counting{}, nil, nil, steps.Deployable{Second: "pg2"}, "pg3: it runs without /run/drained by now, and takes no part"},
		"it is down":            {&counting{clients: 2}, kept, func(c cast, _ *inventory.Cluster) { c["pg3"].Server.Running = false }, steps.Deployable{Second: "pg2"}, ""},
		"it went down just now": {&counting{err: host.ErrNoServer}, kept, nil, steps.Deployable{Second: "pg2"}, ""},
		"it takes part":         {&counting{clients: 2}, kept, nil, steps.Deployable{Second: "pg2,pg3"}, ""},
		"it replays late": {&counting{clients: 2}, kept, func(_ cast, inv *inventory.Cluster) {
			x, _ := inv.Host("pg3")
			x.ApplyDelay = 1
		}, steps.Deployable{Second: "pg2"}, ""},
		"nobody serves, and it has readers": {&counting{clients: 2}, all, nil, steps.Deployable{}, "pg3: its server still has 2 clients, and it takes no part: /run/drained keeps new reads away"},
		"nobody serves, and nobody reads":   {&counting{}, all, nil, steps.Deployable{}, ""},
		"the change locks nothing":          {&counting{clients: 2}, kept, nil, steps.Deployable{NoLock: true}, ""},
	} {
		in := byFile(t, fileOnly, "pg1", c.files, func(all cast, inv *inventory.Cluster) {
			c.counts.source = &source{files: map[string]host.File{}, dirs: map[string]bool{}}
			h := facts.New("pg3", c.counts)
			h.Server = all["pg3"].Server
			for p, text := range c.files["pg3"] {
				c.counts.put(p, text, 0)
			}
			all["pg3"] = h
			if c.change != nil {
				c.change(all, inv)
			}
		})
		_, err := c.step.Plan(t.Context(), in)
		if refused := fault.ClassOf(err) == fault.Refused; refused != (c.want != "") || err != nil && !refused || c.want != "" && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if c.counts.clients > 0 && c.want != "" && !slices.Equal(c.counts.ignored, []string{"monitor"}) {
			t.Errorf("%s: without the roles %q", name, c.counts.ignored)
		}
	}
}

// TestOnlyAnOperatorLetsReadsInWhateverHasBecomeOfTheDrain: what a run takes back of its own it
// looks at once more, and what it says then names the standby as the inventory does.
func TestOnlyAnOperatorLetsReadsInWhateverHasBecomeOfTheDrain(t *testing.T) {
	t.Parallel()
	text := strings.Replace(fileOnly, "    check:", "    lb: {kind: haproxy, address: 10.0.0.9, os_user: haproxy, socket: /run/haproxy/admin.sock, backend: reads}\n    check:", 1)
	text = strings.Replace(text, "role: standby}", "role: standby, traffic: db2}", 1)
	for name, c := range map[string]struct {
		step  steps.Traffic
		asked bool
	}{
		"traffic restore":      {steps.Traffic{State: "serving"}, true},
		"a rollout":            {steps.Traffic{State: "serving", DDL: true}, false},
		"as the run has found": {steps.Traffic{State: "found"}, false},
	} {
		in := byFile(t, text, "pg2", map[string]map[string]string{"pg2": {"/run/drained": "drained by pgrepctl, run run1\n"}}, func(c cast, _ *inventory.Cluster) {
			c["lb"].Balanced = []facts.Balanced{{Backend: "reads", Name: "db2", State: facts.Drained, Admin: "drain"}}
		})
		in.Run = &running{scene{Claims: []string{"reads of pg2 by /run/drained", "reads of reads/db2 at lb"}}}
		p, err := c.step.Plan(t.Context(), in)
		if err != nil || len(p.Effects) < 2 {
			t.Errorf("%s: %+v %v", name, p, err)
			continue
		}
		lb, ok1 := p.Effects[0].(*effect.Balance)
		file, ok2 := p.Effects[1].(*effect.HealthFile)
		if !ok1 || !ok2 || lb.Asked != c.asked || file.Asked != c.asked || lb.Standby != "pg2" {
			t.Errorf("%s: %+v", name, p.Effects)
		}
	}
}
