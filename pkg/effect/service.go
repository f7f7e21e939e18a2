package effect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// Control is how one server is started and stopped: the commands of the service
// manager that owns it.
type Control struct {
	Start   Command `json:"start"`
	Stop    Command `json:"stop"`
	Restart Command `json:"restart"`
	// Log is the file that gets the server's first words, for error messages.
	Log   string `json:"log,omitempty"`
	LogAs string `json:"log_as,omitempty"`
	// OwnLog: Start makes the log, nobody else's service manager does; the
	// undoing of a start takes it away.
	OwnLog bool `json:"own_log,omitempty"`
}

// Command is an argv and the OS user to run it as.
type Command struct {
	Argv []string `json:"argv"`
	As   string   `json:"as"`
}

// Expect is what a server must be once it runs.
type Expect string

const (
	ExpectStandby Expect = "standby" // in recovery; a writable one is stopped at once
	ExpectPrimary Expect = "primary"
)

// Service starts, stops or restarts a server. It returns when the server
// answers (start) or is gone (stop).
type Service struct {
	Host    string        `json:"host"`
	Action  string        `json:"action"` // start, stop, restart; await: it was started, and does not answer yet
	Control Control       `json:"control"`
	Expect  Expect        `json:"expect,omitempty"`
	Timeout time.Duration `json:"timeout"`
	Why     string        `json:"why,omitempty"`
	// Data is the data directory of a standby, DataAs its owner and Signal the
	// file in it that makes it one. The file must be there just before the start,
	// and the control file moves as long as recovery does.
	Data   string `json:"data,omitempty"`
	DataAs string `json:"data_as,omitempty"`
	Signal string `json:"signal,omitempty"`
	// Tells: the server tells its state in postmaster.pid (10+).
	Tells bool `json:"tells,omitempty"`
	// Undo: it is an inverse, and harmless when there is nothing to undo.
	Undo bool `json:"undo,omitempty"`
	// Last: an undo does it when all files are as they were. The server did not start with
	// what is taken back.
	Last bool `json:"last,omitempty"`
	// WayBack are the commands that give it the files of before a restart.
	WayBack []string `json:"-"`
	// Lost says why it cannot be undone, if something is lost by it.
	Lost string `json:"-"`
	// Then is what else it makes true, for a preview.
	Then func(*facts.Host) `json:"-"`
	// Rejoin is set for a standby that leaves: undoing its stop is done when it
	// streams again.
	Rejoin *Rejoin `json:"rejoin,omitempty"`
}

func (e *Service) Kind() string { return "service" }
func (e *Service) On() string   { return e.Host }
func (e *Service) Describe() Description {
	d := Description{Verb: e.Action, Subject: "the server", Detail: e.Why, NoReturn: e.Lost}
	if e.Action == "await" {
		d.Verb, d.Subject = "wait until", "the server answers"
	}
	return d
}

func (e *Service) Inverse() Effect {
	inv := &Service{Host: e.Host, Control: e.Control, Timeout: e.Timeout, Data: e.Data, DataAs: e.DataAs, Signal: e.Signal, Tells: e.Tells, Undo: true}
	switch e.Action {
	case "start":
		inv.Action, inv.Expect = "stop", e.Expect
	case "stop":
		// A standby is one again, or is stopped at once.
		inv.Action, inv.Expect = "start", e.Expect
		if e.Rejoin != nil {
			inv.Rejoin, inv.Expect = e.Rejoin, ExpectStandby
			inv.Why = "(and wait until it streams from " + e.Rejoin.Upstream + " again)"
		}
	case "restart":
		if e.Lost == "" {
			return nil
		}
		inv.Action, inv.Expect, inv.Last = "start", e.Expect, true
		inv.Why = "(unless it runs)"
	default:
		return nil
	}
	return inv
}

func (e *Service) Predict(w World) {
	if h := w.Known(e.Host); h != nil {
		h.Server.Running = e.Action != "stop"
		if e.Action == "stop" {
			h.Server = facts.Server{}
			h.Data.PID = 0
			return
		}
		h.Server.InRecovery = e.Expect == ExpectStandby
		then(h, e.Then)
	}
}

func (e *Service) command() Command {
	switch e.Action {
	case "start":
		return e.Control.Start
	case "stop":
		return e.Control.Stop
	default:
		return e.Control.Restart
	}
}

func (e *Service) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	if e.Undo && e.Rejoin != nil {
		return nil, e.rejoin(ctx, env, h)
	}
	if e.Undo {
		return nil, e.undo(ctx, env, h)
	}
	if err := e.staysStandby(ctx, h); err != nil {
		return nil, err
	}
	noted := e.logOffset(ctx, h)
	if e.Action == "stop" {
		if err := e.tell(ctx, h); err != nil {
			return nil, e.explain(ctx, h, err, noted)
		}
		return nil, nil
	}
	told := make(chan error, 1)
	switch e.Action {
	case "await":
		told <- nil
	case "start":
		// The server is asked while the service manager still looks: pg_ctlcluster
		// does so every half second only, and the server's own word is what counts.
		go func() { told <- e.tell(ctx, h) }()
	default:
		told <- e.tell(ctx, h) // before it has stopped, the old server would answer
	}
	return noted, e.up(ctx, env, h, noted, told)
}

// headStart is what a service manager gets before the server is asked, where that is
// done by a session, which may come too early. A file is read at once.
func (e *Service) headStart() time.Duration {
	if e.tells() {
		return 0
	}
	return 200 * time.Millisecond
}

// tells: the server's files say when it takes sessions.
func (e *Service) tells() bool { return e.Data != "" && e.Tells }

// tell gives the command. One that starts a server waits until it answers, which
// a standby that cannot stream may never do.
func (e *Service) tell(ctx context.Context, h host.Host) error {
	c, timed := e.command(), ctx
	if e.Action != "stop" {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeout(ctx, e.Timeout)
		defer cancel()
	}
	err := h.Run(timed, host.Cmd{Argv: c.Argv, As: c.As}, host.Stdio{})
	if err != nil && timed.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w within %s", errSlow, e.Timeout)
	}
	return err
}

// gaveUp: a service manager gives up on a long recovery; the server does not.
func gaveUp(err error) bool {
	var exit *host.ExitError
	return errors.As(err, &exit) || errors.Is(err, errSlow)
}

// errSlow is a server that does not answer yet: it may be recovering.
var errSlow = errors.New("the server did not answer")

// errStarting is what postmaster.pid says of such a server.
var errStarting = errors.New("the database system is starting up")

type inRecovery struct {
	In bool `json:"in_recovery"`
}

// EndsSessions reports that those from before it are worth nothing any more.
func (e *Service) EndsSessions() bool { return e.Action == "stop" || e.Action == "restart" }

// ask opens a session and asks on which side of recovery the server is. Whoever reads
// the server next has the session; not that of one that is about to be stopped, which may
// wait for it.
func (e *Service) ask(ctx context.Context, env Env, rec *[]inRecovery) error {
	s, err := session(ctx, env, e.Host, false)
	if err != nil {
		return err
	}
	if err := s.Query(ctx, rec, "select pg_is_in_recovery() as in_recovery"); err != nil {
		return errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	if e.Expect == ExpectStandby && writable(*rec) {
		return s.Close(ctx)
	}
	env.Spare(ctx, e.Host, "postgres", s)
	return nil
}

func writable(rec []inRecovery) bool { return len(rec) == 1 && !rec[0].In }

// recovering is a mark that moves with recovery: the control file is written
// whenever the point up to which WAL must be replayed moves on (9.0).
func (e *Service) recovering(ctx context.Context, h host.Host) string {
	if e.Data == "" {
		return ""
	}
	f, err := h.Files(e.DataAs).ReadSome(ctx, path.Join(e.Data, postgres.ControlFile), 8192)
	if err != nil {
		return ""
	}
	return sum(f.Data)
}

// staysStandby refuses to start a copy whose signal file has gone since the plan
// was made: it would be a writable twin, with the identity of its primary.
func (e *Service) staysStandby(ctx context.Context, h host.Host) error {
	if e.Data == "" || e.Action == "stop" {
		return nil
	}
	signal := path.Join(e.Data, e.Signal)
	_, err := h.Files(e.DataAs).Stat(ctx, signal)
	if errors.Is(err, fs.ErrNotExist) {
		return &fault.Error{Class: fault.Refused, Host: e.Host, Op: e.Action + " the server", Err: untouched{fmt.Errorf("it would open read-write: %s is gone", signal)},
			State: "the server was not started", Hint: "type the same command again: it writes the file"}
	}
	if err != nil {
		return fmt.Errorf("look for %s: %w", signal, err)
	}
	return nil
}

// undo starts or stops the server unless it is so already. A server that does
// not answer may still be about to: one whose start was begun by a tool that
// died. So it is always told to stop, and only the outcome counts.
func (e *Service) undo(ctx context.Context, env Env, h host.Host) error {
	if e.Action == "start" {
		// What cannot be told is no success: the server would stay down, and the
		// journal would say that it was started again.
		if up, err := e.settled(ctx, env, h); err != nil || up {
			return err
		}
	}
	if err := e.stillOurs(ctx, env); err != nil {
		return err
	}
	if err := e.staysStandby(ctx, h); err != nil {
		return err
	}
	c := e.command()
	if err := h.Run(ctx, host.Cmd{Argv: c.Argv, As: c.As}, host.Stdio{}); err != nil {
		up, unknown := answers(ctx, env, e.Host)
		if e.Action == "start" || up || unknown != nil {
			return e.explain(ctx, h, err, nil)
		}
	}
	if e.Action == "start" {
		return e.up(ctx, env, h, nil, nil)
	}
	if e.Control.OwnLog {
		if err := h.Files(e.Control.LogAs).Remove(ctx, e.Control.Log); err != nil {
			return fmt.Errorf("remove %s: %w", e.Control.Log, err)
		}
	}
	return nil
}

// wasPromoted looks at a server that does not answer: one with a control file
// and without a signal file is a standby no more.
func (e *Service) wasPromoted(ctx context.Context, env Env) error {
	if e.Data == "" {
		return nil
	}
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return err
	}
	files := h.Files(e.DataAs)
	for _, f := range []struct {
		name   string
		exists bool // in a promoted server
	}{{postgres.ControlFile, true}, {e.Signal, false}} {
		_, err := files.Stat(ctx, path.Join(e.Data, f.name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for %s: %w", f.name, err)
		}
		if (err == nil) != f.exists {
			return nil
		}
	}
	return e.promoted(e.Data + " has no " + e.Signal + " any more")
}

func (e *Service) promoted(why string) error {
	return fault.Refuse(e.Host, "save what was written on it; then stop it, move its data directory away, and undo again",
		fmt.Errorf("%s: it was promoted after this run, and undoing would destroy its data", why))
}

// stillOurs refuses to take back a standby that has become something else since:
// a server that was promoted holds data that nobody else has, and one that
// others stream from is not this run's alone any more.
func (e *Service) stillOurs(ctx context.Context, env Env) error {
	if e.Action != "stop" || e.Expect != ExpectStandby {
		return nil
	}
	s, err := session(ctx, env, e.Host, false)
	if errors.Is(err, host.ErrNoServer) || host.SQLState(err) == postgres.CannotConnectNow {
		return e.wasPromoted(ctx, env) // down, or starting: its files say what it is
	}
	if err != nil {
		return fmt.Errorf("look at the server before stopping it: %w", err)
	}
	defer s.Close(ctx)
	var rec []inRecovery
	if err := s.Query(ctx, &rec, "select pg_is_in_recovery() as in_recovery"); err != nil {
		return fmt.Errorf("look at the server before stopping it: %w", err)
	}
	if len(rec) == 1 && !rec[0].In {
		return e.promoted("the server takes writes")
	}
	var down []struct {
		Application string `json:"application"`
	}
	if err := s.Query(ctx, &down, "select application_name as application from pg_stat_replication order by 1"); err != nil {
		return fmt.Errorf("look at the server before stopping it: %w", err)
	}
	if len(down) > 0 {
		return fault.Refuse(e.Host, "undo or move "+down[0].Application+" first", fmt.Errorf("%s streams from it", down[0].Application))
	}
	return nil
}

// up waits until the server answers and is what it must be. A start command
// that returned 0 proves neither (reliability: pg_ctl -w start). told is what
// becomes of that command, nil when nothing does: it is not waited for once the
// server answers.
func (e *Service) up(ctx context.Context, env Env, h host.Host, noted Output, told <-chan error) error {
	var last error
	var rec []inRecovery
	heard := func(err error) error {
		told = nil
		if err != nil && gaveUp(err) {
			if e.starting(ctx, h, false) && e.lives(ctx, h) {
				return nil // by its own word, and without a session that comes too early
			}
			if up, unknown := answers(ctx, env, e.Host); unknown == nil && up {
				return nil
			}
		}
		return err
	}
	if told != nil {
		head := time.NewTimer(e.headStart())
		defer head.Stop()
		select {
		case err := <-told:
			if err := heard(err); err != nil {
				return e.explain(ctx, h, err, noted)
			}
		case <-head.C:
		}
	}
	err := pollMoving(ctx, e.Timeout, func(ctx context.Context) (bool, string, error) {
		err := errStarting
		if !e.starting(ctx, h, told != nil) {
			err = e.ask(ctx, env, &rec)
		}
		if err == nil || !errors.Is(err, host.ErrNoServer) && !errors.Is(err, errStarting) && host.SQLState(err) != postgres.CannotConnectNow {
			return err == nil, "", err
		}
		last = err // not up yet: no socket, or "the database system is starting up"
		select {
		case err := <-told:
			if err := heard(err); err != nil {
				return false, "", err
			}
		default:
		}
		return false, e.recovering(ctx, h), nil
	}, func() error {
		return fmt.Errorf("%w within %s: %w", errSlow, e.Timeout, last)
	})
	if err != nil {
		return e.explain(ctx, h, err, noted)
	}
	if e.Expect == ExpectStandby && writable(rec) {
		return e.fence(ctx, h)
	}
	if e.Expect == ExpectPrimary && !writable(rec) {
		return &fault.Error{Class: fault.Failed, Host: e.Host, Op: e.Action, Err: errors.New("the server is in recovery, and should be a primary")}
	}
	return nil
}

// fence stops a server that came up writable where a standby was meant: a
// second writable server of the same system is the worst outcome there is.
func (e *Service) fence(ctx context.Context, h host.Host) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: e.Action + " the standby",
		Err:   errors.New("the server opened read-write instead of following its upstream"),
		State: "it was stopped at once",
		Hint:  "do not start it by hand; look for " + e.Signal + " in its data directory, then run the same command again"}
	return e.halt(ctx, h, f)
}

// halt stops the server whatever else ends, and says so if that failed.
func (e *Service) halt(ctx context.Context, h host.Host, f *fault.Error) error {
	c := e.Control.Stop
	if err := h.Run(context.WithoutCancel(ctx), host.Cmd{Argv: c.Argv, As: c.As}, host.Stdio{}); err != nil {
		f.State = "IT IS STILL RUNNING, AND WRITABLE: stopping it failed: " + err.Error()
		f.Err = errors.Join(f.Err, err)
		f.Hint = "stop it now, on " + e.Host + ": " + shell.Typed(c.As, c.Argv...)
	}
	return f
}

// explain adds what the server itself logged.
func (e *Service) explain(ctx context.Context, h host.Host, err error, noted Output) error {
	f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: e.Action + " the server", Err: err, Stderr: host.Tail(host.StderrOf(err), 5)}
	if e.Control.Log != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if words, err := e.ownWords(ctx, h, noted); err == nil {
			f.Stderr = host.Tail(f.Stderr+"\n"+words, 10)
			f.Hint = "read " + e.Control.Log + " on " + e.Host
		}
	}
	if len(e.WayBack) > 0 {
		c := e.Control.Start
		back := "to start it with the files of before, on " + e.Host + ": " + strings.Join(append(slices.Clone(e.WayBack), shell.Typed(c.As, c.Argv...)), "; ")
		f.Hint = strings.TrimPrefix(f.Hint+"; "+back, "; ")
	}
	return f
}
