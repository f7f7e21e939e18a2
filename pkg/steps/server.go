package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Server starts or stops the server, or settles what edited files ask for.
type Server struct {
	State string `yaml:"state"` // stopped, running
	// IfRunning, for state stopped: "refuse" (default) or "stop".
	IfRunning string `yaml:"if-running"`
	// Settle: reload-or-refuse, or restart.
	Settle  string        `yaml:"settle"`
	Timeout time.Duration `yaml:"timeout"` // for the server to answer after a start, which is never killed (30m)
}

var _ Step = (*Server)(nil)

// startTimeout bounds how long a server may take to answer. Recovery of a large
// copy may take long; the server is never killed when it expires.
const startTimeout = 30 * time.Minute

// Validate is called when a plan file is read.
func (s *Server) Validate() error {
	switch {
	case (s.State == "") == (s.Settle == ""):
		return errors.New("give one of state and settle")
	case s.State != "" && s.State != "stopped" && s.State != "running":
		return fmt.Errorf("state %q: want stopped or running", s.State)
	case s.Settle != "" && s.Settle != "reload-or-refuse" && s.Settle != "restart":
		return fmt.Errorf("settle %q: want reload-or-refuse or restart", s.Settle)
	case s.IfRunning != "" && s.IfRunning != "refuse" && s.IfRunning != "stop":
		return fmt.Errorf("if-running %q: want refuse or stop", s.IfRunning)
	}
	return nil
}

// Plan is one of three.
func (s *Server) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	switch {
	case s.Settle != "":
		return s.settle(ctx, in, h)
	case s.State == "stopped":
		return s.stopped(ctx, in, h)
	default:
		return s.running(ctx, in, h)
	}
}

func (s *Server) settle(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	owed := in.Run.Owed(in.Self.Name)
	if len(owed) == 0 {
		return noop("no file was changed that asks for it"), nil
	}
	var why, restart []string
	for _, o := range owed {
		why = append(why, o.Why)
		if o.Restart {
			restart = append(restart, o.Why)
		}
	}
	if len(restart) > 0 && s.Settle != "restart" {
		return Planned{}, fault.Refuse(in.Self.Name, "restart the server at a quiet hour, then type the same command again; or set it by hand",
			fmt.Errorf("%s needs a restart of %s, which this plan does not do", strings.Join(restart, ", "), in.Self.Name))
	}
	bad, err := h.ConfigErrors(ctx)
	if err != nil {
		return Planned{}, err
	}
	if len(bad) > 0 {
		return Planned{}, fault.Refuse(in.Self.Name, "mend the file, then type the same command again",
			fmt.Errorf("the server refuses its configuration: %s:%d: %s", bad[0].File, bad[0].Line, bad[0].Message))
	}
	if len(restart) > 0 {
		if err := in.refusePausedBy(ctx, h); err != nil {
			return Planned{}, err
		}
		e, err := s.restart(in, h)
		if err != nil {
			return Planned{}, err
		}
		e.Why = "(for " + strings.Join(restart, ", ") + ")"
		return Planned{Effects: []effect.Effect{e}}, nil
	}
	return Planned{Effects: []effect.Effect{&effect.Reload{Host: in.Self.Name, Why: "(for " + strings.Join(why, ", ") + ")"}}}, nil
}

func (s *Server) stopped(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	running := h.Server.Running || h.Data.PID != 0
	if !running {
		return noop("not running"), nil
	}
	done, reason, err := in.seeded(ctx)
	if err != nil {
		return Planned{}, err
	}
	if done {
		return noop("%s", reason), nil
	}
	if s.IfRunning != "stop" {
		return Planned{}, fault.Refuse(in.Self.Name, "if that server may go, stop it and move its data directory away, then type the same command again",
			fmt.Errorf("a server that is not a standby of this cluster runs in %s (process %d)", h.Data.Path, h.Data.PID))
	}
	return Planned{Effects: []effect.Effect{s.service(in, h, "stop", "")}}, nil
}

func (s *Server) running(ctx context.Context, in In, h *facts.Host) (Planned, error) {
	if h.Server.Running {
		return noop("running"), nil
	}
	// Not that of the binaries, which may not be found: of the wrong file's
	// presence a writable twin would follow.
	v, err := postgres.ParseVersion(in.Self.Postgres.Version)
	if err != nil {
		return Planned{}, fmt.Errorf("version of %s: %w", in.Self.Name, err)
	}
	var expect effect.Expect
	if in.Standby != nil && in.Standby.Name == in.Self.Name {
		if !h.Data.Standby {
			return Planned{}, fault.Refuse(in.Self.Name, "type the same command again",
				fmt.Errorf("it would open read-write: there is no %s in its data directory", v.RecoveryFile()))
		}
		if v.UsesSignalFiles() && h.Data.PID == 0 {
			// Once more: its configuration may have come with a copy of another server than
			// its upstream, or have changed since.
			if err := refuseTargets(ctx, in, h); err != nil {
				return Planned{}, err
			}
		}
		expect = effect.ExpectStandby
	}
	action := "start"
	if h.Data.PID != 0 {
		action = "await" // started already, and still recovering
	}
	e := s.service(in, h, action, expect)
	if expect == effect.ExpectStandby {
		e.Why = "(it must come up in recovery, or it is stopped at once)"
		ofStandby(e, in.Self, v)
		if action == "start" && syncsAtOnce(e, in.Self, h, v) {
			e.Why = "(it must come up in recovery, or it is stopped at once; recovery_init_sync_method is syncfs until it is stopped)"
		}
		_, up, err := in.upstream(ctx)
		if err != nil {
			return Planned{}, err
		}
		if e.Then, err = predictStandby(ctx, in, h, up); err != nil {
			return Planned{}, err
		}
	}
	return Planned{Effects: []effect.Effect{e}}, nil
}

// syncsAtOnce has a server that starts to recover sync its file systems, and not each of
// its files: that is a flush of the disk for each, also of those that the run has just
// synced. It is an option of this start, which pg_ctl keeps for its restarts: a file
// would be edited once more for it. systemd takes no options, and whether syncfs tells of
// data that could not be written depends on the kernel.
func syncsAtOnce(e *effect.Service, self *inventory.Host, h *facts.Host, v postgres.Version) bool {
	if !v.SyncsFileSystems() || !syncfsTells(h.Machine.Kernel) {
		return false
	}
	const option = "-c recovery_init_sync_method=syncfs"
	argv := slices.Clone(e.Control.Start.Argv)
	switch self.Postgres.Service.Kind {
	case inventory.ServicePgCtlCluster:
		argv = slices.Insert(argv, slices.Index(argv, "--"), "-o", option) // what follows is for pg_ctl
	case inventory.ServicePgCtl:
		argv = append(argv, "-o", option)
	default:
		return false
	}
	e.Control.Start.Argv = argv
	return true
}

// restart is of what the server was before. One that belongs to another service
// manager than the inventory's would not belong to it any more.
func (s *Server) restart(in In, h *facts.Host) (*effect.Service, error) {
	svc, kind := h.Service, in.Self.Postgres.Service.Kind
	bySystemd := kind == inventory.ServiceSystemd
	switch {
	case svc.Owner != "" && (kind == inventory.ServicePgCtlCluster || kind == inventory.ServicePgCtl || bySystemd && svc.Owner != svc.Unit):
		return nil, fault.Refuse(in.Self.Name, "service: {kind: systemd, name: "+strings.TrimSuffix(svc.Owner, ".service")+"} in the inventory",
			fmt.Errorf("the server belongs to systemd's unit %s, and %s would restart it outside of that", svc.Owner, kind))
	case svc.Outside && bySystemd:
		return nil, fault.Refuse(in.Self.Name, "at a quiet hour stop it the way it was started, then: sudo systemctl start "+svc.Unit,
			fmt.Errorf("the server was not started by unit %s: systemctl can not restart it", svc.Unit))
	case !h.Server.InRecovery:
		return s.service(in, h, "restart", effect.ExpectPrimary), nil
	}
	e := s.service(in, h, "restart", effect.ExpectStandby)
	ofStandby(e, in.Self, h.Server.Version)
	return e, nil
}

// ofStandby has the effect look at the files of a standby.
func ofStandby(e *effect.Service, self *inventory.Host, v postgres.Version) {
	e.Data, e.DataAs, e.Signal = self.Postgres.DataDirectory, self.Postgres.OSUser, v.RecoveryFile()
	e.Tells = v.StatusInPIDFile()
}

func (s *Server) service(in In, h *facts.Host, action string, expect effect.Expect) *effect.Service {
	timeout := s.Timeout
	if timeout == 0 {
		timeout = startTimeout
	}
	return &effect.Service{Host: in.Self.Name, Action: action, Control: Control(in.Self, h), Expect: expect, Timeout: timeout}
}

// Control is the commands of the service manager that owns the server.
func Control(hst *inventory.Host, h *facts.Host) effect.Control {
	command := func(action string, more ...string) effect.Command {
		argv, as := hst.Postgres.ServiceCommand(action, h.Machine.BinDirectory)
		return effect.Command{As: as, Argv: append(argv, more...)}
	}
	pg := hst.Postgres
	switch pg.Service.Kind {
	case inventory.ServicePgCtlCluster:
		// pg_ctl gives up after 60 s, which a long recovery needs, and a stop that has
		// much to write or to send: it is told to wait, and ours is the time-out.
		return effect.Control{Start: command("start", "--", "-t", "86400"), Stop: command("stop", "-m", "fast", "--", "-t", "86400"), Restart: command("restart", "-m", "fast", "--", "-t", "86400"),
			Log: "/var/log/postgresql/postgresql-" + pg.Version + "-" + pg.Service.Name + ".log", LogAs: pg.OSUser}
	case inventory.ServiceSystemd, inventory.ServiceCommand:
		return effect.Control{Start: command("start"), Stop: command("stop"), Restart: command("restart")}
	default: // pg_ctl
		log := h.Machine.Own(hst.Name + ".log")
		wait := []string{"-s", "-w", "-t", "86400"}
		// Without -l the server would keep pg_ctl's output, and with it the
		// SSH channel, open for ever.
		return effect.Control{Start: command("start", append(wait, "-l", log)...), Stop: command("stop", append(wait, "-m", "fast")...),
			Restart: command("restart", append(wait, "-m", "fast", "-l", log)...), Log: log, LogAs: pg.OSUser, OwnLog: true}
	}
}
