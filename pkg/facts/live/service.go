package live

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// unitOf names the systemd unit to ask for. Debian has one for each cluster that
// pg_ctlcluster knows.
func unitOf(pg inventory.Postgres) string {
	switch pg.Service.Kind {
	case inventory.ServiceSystemd:
		return pg.Service.Name
	case inventory.ServicePgCtlCluster:
		return "postgresql@" + pg.Version + "-" + pg.Service.Name
	}
	return ""
}

// parseService reads what systemd said. pid is the live postmaster, 0 if none.
func parseService(r record, pid int) facts.Service {
	u := properties(r.get("unit"))
	s := facts.Service{Unit: u["Id"], Load: u["LoadState"]}
	// A start of the other types is over when the process is there.
	if limit := u["TimeoutStartUSec"]; limit != "infinity" && slices.Contains([]string{"forking", "notify", "notify-reload", "oneshot"}, u["Type"]) {
		s.StartTimeout = limit
	}
	// What was asked for is the process that postmaster.pid names.
	if pid == 0 || !r.has("group") || strconv.Itoa(pid) != postmaster(r) {
		return s
	}
	for _, text := range r.values["group_unit"] {
		// The group alone makes no owner: without logind a server that was
		// started by hand is in the group of sshd. But the unit that the
		// inventory names ends all that is in its group.
		if g := properties(text); g["Id"] == "" {
			return s // systemd did not answer
		} else if g["MainPID"] == strconv.Itoa(pid) || g["Id"] == s.Unit {
			s.Owner = g["Id"]
			return s
		}
	}
	s.Outside = true
	return s
}

func postmaster(r record) string {
	return strconv.Itoa(parsePostmasterPID(r.get("file:postmaster.pid")).pid)
}

// properties are lines of `systemctl show`.
func properties(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			out[name] = value
		}
	}
	return out
}
