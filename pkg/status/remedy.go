package status

import (
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// serviceCommand is what to type on a host to start, stop or restart its server.
func serviceCommand(h *inventory.Host, action string) string {
	return "on " + h.Name + ": " + service(h.Postgres, action)
}

func service(pg inventory.Postgres, action string) string {
	argv, as := pg.ServiceCommand(action, pg.BinDirectory)
	return shell.Typed(as, argv...)
}

// anew is how a standby is made again that cannot go on with the data that it has.
func anew(h *inventory.Host) string { return "pgrepctl standby reseed " + h.Name }

// instead is what to do with data of another system: they are moved and not removed,
// for they may hold what nobody else has.
func instead(h *inventory.Host) string {
	dir := h.Postgres.DataDirectory
	return "on " + h.Name + ": " + service(h.Postgres, "stop") + "; sudo mv " + dir + " " + dir + ".old; then: pgrepctl standby bootstrap " + h.Name
}
