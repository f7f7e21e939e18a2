package doctor

import (
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// service is what the inventory says of pg1's server, and what systemd does.
func (l *lab) service(kind string, says facts.Service) {
	l.cl.Hosts[0].Postgres.Service = inventory.Service{Kind: kind, Name: "main"}
	l.pg1.Service = says
}

// serviceCases are those of cases that look at who owns the server.
func serviceCases() map[string]struct {
	damage func(*lab)
	want   []string
} {
	return map[string]struct {
		damage func(*lab)
		want   []string
	}{
		"unit of another name": {func(l *lab) {
			l.service(inventory.ServiceSystemd, facts.Service{Unit: "postgresql.service", Load: "loaded", Owner: "postgresql@15-main.service"})
		}, []string{"pg1 block service.owner"}},
		"server outside of its unit": {func(l *lab) {
			l.service(inventory.ServiceSystemd, facts.Service{Unit: "postgresql.service", Load: "loaded", Outside: true})
		}, []string{"pg1 block service.owner"}},
		"no such unit": {func(l *lab) {
			l.service(inventory.ServiceSystemd, facts.Service{Unit: "postgresql.service", Load: "not-found"})
		}, []string{"pg1 block service.owner"}},
		"systemd with the right unit": {func(l *lab) {
			l.service(inventory.ServiceSystemd, facts.Service{Unit: "postgresql.service", Load: "loaded", Owner: "postgresql.service"})
		}, nil},
		"systemd that does not answer": {func(l *lab) { l.service(inventory.ServiceSystemd, facts.Service{}) }, nil},
		"start that may not take its time": {func(l *lab) {
			l.service(inventory.ServiceSystemd, facts.Service{Unit: "postgresql.service", Load: "loaded", Owner: "postgresql.service", StartTimeout: "1min 30s"})
		}, []string{"pg1 warn service.start-timeout"}},
		"pg_ctl, and a unit has the server": {func(l *lab) {
			l.service(inventory.ServicePgCtl, facts.Service{Owner: "postgresql.service"})
		}, []string{"pg1 warn service.unit"}},
		"pg_ctlcluster, and its unit does not have the server": {func(l *lab) {
			l.service(inventory.ServicePgCtlCluster, facts.Service{Unit: "postgresql@15-main.service", Load: "loaded", Outside: true})
		}, []string{"pg1 warn service.unit"}},
		"pg_ctlcluster is about to start a server outside of its unit": {func(l *lab) {
			l.cl.Hosts[1].Postgres.Service = inventory.Service{Kind: inventory.ServicePgCtlCluster, Name: "main"}
			l.pg2.Service = facts.Service{Unit: "postgresql@15-main.service", Load: "loaded"}
		}, []string{"pg2 warn service.unit"}},
		"pg_ctlcluster where systemd knows no units of it": {func(l *lab) {
			l.service(inventory.ServicePgCtlCluster, facts.Service{Unit: "postgresql@15-main.service", Load: "not-found", Outside: true})
		}, nil},
		"commands of one's own may be systemctl": {func(l *lab) {
			l.service(inventory.ServiceCommand, facts.Service{Owner: "postgresql.service"})
		}, nil},
	}
}
