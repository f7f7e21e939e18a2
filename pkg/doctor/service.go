package doctor

import (
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

func serviceOwner(s subject) []found {
	svc := s.f.Service
	if s.inv.Postgres.Service.Kind != inventory.ServiceSystemd || svc.Unit == "" {
		return nil
	}
	switch {
	case svc.Owner != "" && svc.Owner != svc.Unit:
		return one(useUnit(svc.Owner), "the server belongs to unit %s, the inventory says %s", svc.Owner, svc.Unit)
	case svc.Load != "loaded":
		return one("correct service.name in the inventory, or the unit: systemctl status "+svc.Unit, "unit %s is %s", svc.Unit, svc.Load)
	case svc.Outside:
		return one("at a quiet hour stop it the way it was started, then: sudo systemctl start "+svc.Unit,
			"the server (process %d) was not started by unit %s: systemctl can neither stop nor restart it", s.f.Data.PID, svc.Unit)
	}
	return nil
}

func serviceUnit(s subject) []found {
	svc, kind := s.f.Service, s.inv.Postgres.Service.Kind
	if kind != inventory.ServicePgCtlCluster && kind != inventory.ServicePgCtl {
		return nil
	}
	switch {
	case svc.Owner != "":
		return one(useUnit(svc.Owner), "the server belongs to systemd's unit %s: after a restart by %s it would not", svc.Owner, kind)
	case svc.Load != "loaded":
		return nil
	case svc.Outside:
		argv, as := s.inv.Postgres.ServiceCommand("stop", s.f.Machine.BinDirectory)
		return one("at a quiet hour: "+shell.Typed(as, argv...)+"; sudo systemctl start "+svc.Unit+"; and "+useUnit(svc.Unit),
			"the server (process %d) runs outside of its unit %s, which systemctl calls stopped", s.f.Data.PID, svc.Unit)
	case s.f.Data.PID == 0:
		return one(useUnit(svc.Unit), "a server that %s starts is outside of its unit %s, which systemctl would call stopped", kind, svc.Unit)
	}
	return nil
}

func serviceStartTimeout(s subject) []found {
	svc := s.f.Service
	if s.inv.Postgres.Service.Kind != inventory.ServiceSystemd || svc.StartTimeout == "" {
		return nil
	}
	return one("sudo systemctl edit "+svc.Unit+", and write there: [Service] TimeoutStartSec=infinity",
		"systemd ends a start of %s that takes longer than %s, which a recovery may", svc.Unit, svc.StartTimeout)
}

func useUnit(unit string) string {
	return "service: {kind: systemd, name: " + strings.TrimSuffix(unit, ".service") + "} in the inventory"
}
