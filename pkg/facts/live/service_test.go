package live

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

func TestServiceIsWhatSystemdSays(t *testing.T) {
	t.Parallel()
	const debian = "Type=forking\nMainPID=42\nTimeoutStartUSec=infinity\nId=postgresql@15-main.service\nLoadState=loaded\n"
	owned := facts.Service{Unit: "postgresql@15-main.service", Load: "loaded", Owner: "postgresql@15-main.service"}
	outside := facts.Service{Unit: "postgresql@15-main.service", Load: "loaded", Outside: true}
	for name, c := range map[string]struct {
		unit, group, groupUnit string
		noGroup                bool
		pid                    int
		want                   facts.Service
	}{
		"no systemd":               {noGroup: true, pid: 42},
		"stopped":                  {unit: debian, noGroup: true, want: facts.Service{Unit: owned.Unit, Load: "loaded"}},
		"owned":                    {unit: debian, group: owned.Unit, groupUnit: debian, pid: 42, want: owned},
		"owned, main process lost": {unit: debian, group: owned.Unit, groupUnit: "Id=postgresql@15-main.service\nMainPID=0\n", pid: 42, want: owned},
		"in a login session":       {unit: debian, group: "session-7.scope", pid: 42, want: outside},
		"in no group at all":       {unit: debian, group: "", pid: 42, want: outside},
		"in the group of sshd":     {unit: debian, group: "ssh.service", groupUnit: "Id=ssh.service\nMainPID=7\n", pid: 42, want: outside},
		"of another unit":          {group: "shop.service", groupUnit: "Id=shop.service\nMainPID=42\n", pid: 42, want: facts.Service{Owner: "shop.service"}},
		"systemd is silent":        {group: "ssh.service", groupUnit: " ", pid: 42},
		"not the asked process":    {unit: debian, group: "session-7.scope", pid: 43, want: facts.Service{Unit: owned.Unit, Load: "loaded"}},
		"start is timed": {unit: "Type=notify\nMainPID=0\nTimeoutStartUSec=1min 30s\nId=postgresql-15.service\nLoadState=loaded\n", noGroup: true,
			want: facts.Service{Unit: "postgresql-15.service", Load: "loaded", StartTimeout: "1min 30s"}},
		"start is over at once": {unit: "Type=simple\nTimeoutStartUSec=1min 30s\nId=pg.service\nLoadState=loaded\n", noGroup: true,
			want: facts.Service{Unit: "pg.service", Load: "loaded"}},
		"no such unit": {unit: "Type=\nTimeoutStartUSec=\nId=pg.service\nLoadState=not-found\n", noGroup: true,
			want: facts.Service{Unit: "pg.service", Load: "not-found"}},
	} {
		values := map[string][]string{"file:postmaster.pid": {"42\n/data\n"}}
		for key, v := range map[string]string{"unit": c.unit, "group_unit": c.groupUnit} {
			if v != "" {
				values[key] = []string{v}
			}
		}
		if !c.noGroup {
			values["group"] = []string{c.group}
		}
		if d := cmp.Diff(c.want, parseService(record{values: values}, c.pid)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestUnitToAskForFollowsTheKindOfService(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]inventory.Service{
		"postgresql-15":      {Kind: inventory.ServiceSystemd, Name: "postgresql-15"},
		"postgresql@15-main": {Kind: inventory.ServicePgCtlCluster, Name: "main"},
		"":                   {Kind: inventory.ServicePgCtl},
	} {
		if got := unitOf(inventory.Postgres{Version: "15", Service: s}); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}
