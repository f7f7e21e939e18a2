package inventory

import "path"

// ServiceCommand is how the service manager of a server is told to start, stop or restart
// it: an argv, and the OS user who runs it, "" for the one who logs in. bin is where
// pg_ctl is, "" when that is not known.
func (p *Postgres) ServiceCommand(action, bin string) (argv []string, as string) {
	switch s := p.Service; s.Kind {
	case ServicePgCtlCluster:
		return []string{"pg_ctlcluster", p.Version, s.Name, action}, p.OSUser
	case ServiceSystemd:
		return []string{"systemctl", action, s.Name}, "root"
	case ServiceCommand:
		return map[string][]string{"start": s.Start, "stop": s.Stop, "restart": s.Restart}[action], ""
	default: // pg_ctl
		return []string{path.Join(bin, "pg_ctl"), action, "-D", p.ConfigDirectory}, p.OSUser
	}
}
