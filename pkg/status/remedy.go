package status

import (
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// serviceCommand is what to type on a host to start, stop or restart its server.
func serviceCommand(h *inventory.Host, action string) string {
	return "on " + h.Name + ": " + service(h.Postgres, action)
}

func service(pg inventory.Postgres, action string) string {
	as := "sudo -u " + pg.OSUser + " "
	switch s := pg.Service; s.Kind {
	case inventory.ServiceSystemd:
		return "sudo systemctl " + action + " " + s.Name
	case inventory.ServiceCommand:
		return strings.Join(map[string][]string{"start": s.Start, "stop": s.Stop, "restart": s.Restart}[action], " ")
	case inventory.ServicePgCtlCluster:
		return as + "pg_ctlcluster " + pg.Version + " " + s.Name + " " + action
	}
	return as + path.Join(pg.BinDirectory, "pg_ctl") + " " + action + " -D " + pg.ConfigDirectory
}

// anew is how a standby is made again that cannot go on with the data that it has.
func anew(h *inventory.Host) string { return "pgrepctl standby reseed " + h.Name }

// instead is what to do with data of another system: they are moved and not removed,
// for they may hold what nobody else has.
func instead(h *inventory.Host) string {
	dir := h.Postgres.DataDirectory
	return "on " + h.Name + ": " + service(h.Postgres, "stop") + "; sudo mv " + dir + " " + dir + ".old; then: pgrepctl standby bootstrap " + h.Name
}
