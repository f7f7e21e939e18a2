package steps

import (
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// syncUnwanted is what is left of the setting where the inventory has no synchronous host. It
// stays: whether synchronous: was taken out of the inventory, or somebody set the names by
// hand and never said so there, looks the same, and to guess wrong makes commits less safe.
func (in In) syncUnwanted(h *facts.Host, value string) Planned {
	if value == "" {
		return noop("the inventory has no synchronous standby")
	}
	is := fmt.Sprintf("%s is %q", syncSetting, value)
	if _, ok := inventoryWants(in.Self)[syncSetting]; ok {
		return noop("%s: the settings of the inventory have the say", is)
	}
	have, err := postgres.ParseSyncStandbys(value)
	if err != nil {
		return noop("%s, and the inventory has no synchronous standby: it stays", is)
	}
	if strange := in.Cluster.Strange(have.Names); len(strange) > 0 {
		return noop("%s, and stays: the inventory has no synchronous standby, and knows no host %s", is, strings.Join(strange, ", "))
	}
	p := noop("%s, which the inventory does not want: it stays", is)
	if in.saysUnwanted(have) {
		p.Held = []Held{{What: is + ", and no host of the inventory is synchronous: commits on " + h.Name + " go on waiting",
			Hint: "to keep it, say synchronous: true for the standbys of " + h.Name + " that it names; to let commits wait for nobody, on " + h.Name +
				": ALTER SYSTEM SET " + syncSetting + " = ''; SELECT pg_reload_conf()"}}
	}
	return p
}

// saysUnwanted: a plan goes through all standbys, and one of them is enough to say so. It
// is the first that is named; of none, as when the primary itself is, the first.
func (in In) saysUnwanted(have postgres.SyncStandbys) bool {
	all := in.Cluster.Standbys()
	for _, s := range all {
		if have.Lists(applicationName(s)) {
			return in.Standby == nil || in.Standby == s
		}
	}
	return in.Standby == nil || len(all) > 0 && in.Standby == all[0]
}
