package effect

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// StartExclusive begins an exclusive base backup, the only kind of 9.4 and 9.5. It
// belongs to the server: it outlives our session, so its end is a recorded inverse, and
// a dead-man's switch stands by (BackupSwitch).
type StartExclusive struct {
	Host string `json:"host"`
	// Label is of this one attempt: by it alone the backup is known again.
	Label string `json:"-"`
	Fast  bool   `json:"fast"`
	// As and Dir are the server's OS user and data directory, for the words that
	// help when it crashes.
	As  string `json:"-"`
	Dir string `json:"-"`
	// Major is the server's, and Start its statement: $1 label, $2 fast.
	Major string `json:"-"`
	Start string `json:"-"`
}

func (e *StartExclusive) Kind() string  { return "start-exclusive-backup" }
func (e *StartExclusive) On() string    { return e.Host }
func (e *StartExclusive) Predict(World) {}
func (e *StartExclusive) Inverse() Effect {
	return &EndBackup{Host: e.Host, Label: e.Label, As: e.As, Dir: e.Dir}
}

// Inert: no step asks for anything that it changes.
func (e *StartExclusive) Inert() bool { return true }

func (e *StartExclusive) Describe() Description {
	how := "spread"
	if e.Fast {
		how = "fast"
	}
	return Description{Verb: "start", Subject: "a base backup", Detail: "(exclusive: PostgreSQL " + e.Major + " has no other; " + how + " checkpoint)",
		Hazard: hazard(e.Host, e.As, e.Dir)}
}

// hazard is said before the backup starts: afterwards it may be too late to ask.
func hazard(name, as, dir string) string {
	return "until it ends do not stop or restart the server of " + name + ": a smart shutdown waits for ever, a fast one breaks the copy off. " +
		"If it crashes and then does not start (\"could not locate required checkpoint record\"), " + recovery(name, as, dir)
}

// recovery is what to type when a primary does not start after a crash.
func recovery(name, as, dir string) string {
	label := path.Join(dir, "backup_label")
	return "type on " + name + ": " + shell.Typed(as, "mv", label, label+".old") + "; then start it. Never do that on a standby"
}

func (e *StartExclusive) Do(ctx context.Context, env Env) (Output, error) {
	env.Warn(e.Host, hazard(e.Host, e.As, e.Dir))
	s, err := session(ctx, env, e.Host, true)
	if err != nil {
		return nil, err
	}
	b, lsn, err := e.start(ctx, s)
	if err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	b.heldSession = holdSession(s)
	env.Hold(backupHold, b)
	return Output{BackupStartLSN: lsn, BackupStopLSN: "", BackupLabel: "", BackupMap: ""}, nil
}

// exclusiveBackup is what the server said right after the start.
type exclusiveBackup struct {
	*heldSession
	label     string // the one that it was begun with
	file      string // backup_label
	locations []string
}

func (e *StartExclusive) start(ctx context.Context, s host.SQL) (*exclusiveBackup, string, error) {
	if err := s.Exec(ctx, idleTimeout); err != nil {
		return nil, "", fmt.Errorf("prepare the backup session: %w", err)
	}
	var got []struct {
		LSN string `json:"lsn"`
	}
	if err := s.Query(ctx, &got, e.Start, e.Label, e.Fast); err != nil {
		f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "start the base backup", Err: err}
		if host.SQLState(err) == postgres.ObjectNotInPrerequisiteState { // there is one already
			f.Hint = "see whose it is: head " + path.Join(e.Dir, "backup_label") + " on " + e.Host + "; if nobody needs it: select pg_stop_backup()"
		}
		return nil, "", f
	}
	if len(got) != 1 {
		return nil, "", fmt.Errorf("start the base backup: %d rows", len(got))
	}
	files, err := readBackupFiles(ctx, s)
	if err != nil {
		return nil, "", err
	}
	if files == nil {
		return nil, "", lostExclusive(e.Host)
	}
	var at []struct {
		Location string `json:"location"`
	}
	if err := s.Query(ctx, &at, postgres.TablespaceLocations()); err != nil {
		return nil, "", fmt.Errorf("list the tablespaces: %w", err)
	}
	b := &exclusiveBackup{label: e.Label, file: files.Label, locations: []string{}}
	for _, x := range at {
		b.locations = append(b.locations, x.Location)
	}
	return b, got[0].LSN, nil
}

type backupFiles struct {
	Label string  `json:"label"`
	Map   *string `json:"map"`
}

// readBackupFiles is nil when no exclusive backup is in progress.
func readBackupFiles(ctx context.Context, s host.SQL) (*backupFiles, error) {
	var got []backupFiles
	if err := s.Query(ctx, &got, postgres.ExclusiveBackupFiles()); err != nil {
		return nil, fmt.Errorf("read backup_label: %w", err)
	}
	if len(got) == 0 || got[0].Label == "" {
		return nil, nil
	}
	return &got[0], nil
}

// StopExclusive ends it, and yields the backup label, which is a file of the source's.
type StopExclusive struct {
	Host string `json:"host"`
	// Copied is as of StopBackup.
	Copied []string `json:"-"`
}

func (e *StopExclusive) Kind() string    { return "stop-exclusive-backup" }
func (e *StopExclusive) On() string      { return e.Host }
func (e *StopExclusive) Inverse() Effect { return nil }
func (e *StopExclusive) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *StopExclusive) Inert() bool { return true }

func (e *StopExclusive) Describe() Description {
	return Description{Verb: "stop", Subject: "the base backup", Detail: "(with archive_mode on it waits until the archiver has its WAL)"}
}

func (e *StopExclusive) Do(ctx context.Context, env Env) (Output, error) {
	held, ok := env.TakeHeld(backupHold)
	if !ok {
		return nil, lostExclusive(e.Host)
	}
	b := held.(*exclusiveBackup)
	b.end()
	<-b.done
	defer b.sql.Close(context.WithoutCancel(ctx))
	select {
	case <-b.sql.Lost():
		return nil, lostExclusive(e.Host)
	default:
	}
	files, err := readBackupFiles(ctx, b.sql)
	if err != nil {
		return nil, err
	}
	// The same bytes: not ended meanwhile, and not begun again by somebody else.
	if files == nil || files.Label != b.file {
		return nil, lostExclusive(e.Host)
	}
	lsn, err := endExclusive(ctx, b.sql, b.label)
	if err != nil {
		return nil, fmt.Errorf("stop the base backup: %w", err)
	}
	if lsn == nil {
		return nil, lostExclusive(e.Host)
	}
	out := Output{BackupStopLSN: *lsn, BackupLabel: files.Label}
	if files.Map != nil {
		out[BackupMap] = *files.Map
	}
	if e.Copied == nil {
		return out, nil
	}
	if err := complete(e.Host, b.locations, e.Copied, env.Run()); err != nil {
		return nil, err
	}
	return out, nil
}

func endExclusive(ctx context.Context, s host.SQL, label string) (lsn *string, err error) {
	end, err := postgres.EndExclusiveBackup(label)
	if err != nil {
		return nil, err
	}
	var got []struct {
		LSN *string `json:"lsn"`
	}
	if err := s.Query(ctx, &got, end); err != nil {
		return nil, err
	}
	if len(got) != 1 {
		return nil, fmt.Errorf("%d rows", len(got))
	}
	return got[0].LSN, nil
}

func lostExclusive(name string) error {
	return &fault.Error{Class: fault.Failed, Host: name, Op: "stop the base backup",
		Err:   errors.New("the exclusive backup of this run is not in progress any more: the server was stopped or crashed, or somebody ended it"),
		State: "the copy cannot be used, and cannot start; what was copied stays"}
}

// EndBackup ends the exclusive backup of a run, if it is still in progress, and nobody
// else's. It is the inverse of StartExclusive.
type EndBackup struct {
	Host  string `json:"host"`
	Label string `json:"label"`
	As    string `json:"as"`
	Dir   string `json:"dir"`
}

func (e *EndBackup) Kind() string    { return "end-backup" }
func (e *EndBackup) On() string      { return e.Host }
func (e *EndBackup) Inverse() Effect { return nil }
func (e *EndBackup) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *EndBackup) Inert() bool { return true }

func (e *EndBackup) Describe() Description {
	return Description{Verb: "end", Subject: "the exclusive backup of this run", Detail: "if it is still in progress"}
}

// archiverPatience: backup mode has ended when pg_stop_backup begins to wait for the
// archiver, and of a broken off backup nobody needs the archive.
const archiverPatience = 20 * time.Second

func (e *EndBackup) Do(ctx context.Context, env Env) (Output, error) {
	s, err := env.SQL(ctx, e.Host)
	if err != nil {
		if errors.Is(err, host.ErrNoServer) {
			return nil, &fault.Error{Class: fault.Unreachable, Host: e.Host, Op: "end the exclusive backup", Err: err,
				Hint: "start the server of " + e.Host + "; if it does not start: " + recovery(e.Host, e.As, e.Dir)}
		}
		return nil, err
	}
	patient, cancel := context.WithTimeout(ctx, archiverPatience)
	defer cancel()
	_, err = endExclusive(patient, s, e.Label)
	if err == nil {
		return nil, nil
	}
	// The switch on the host may have ended it in the same moment.
	owns, bad := postgres.OwnsExclusiveBackup(e.Label)
	if bad != nil {
		return nil, bad
	}
	var got []struct {
		Ours bool `json:"ours"`
	}
	if asked := s.Query(ctx, &got, owns); asked == nil && len(got) == 1 && !got[0].Ours {
		return nil, nil
	}
	return nil, &fault.Error{Class: fault.Failed, Host: e.Host, Op: "end the exclusive backup", Err: err,
		State: "the server of " + e.Host + " is still in backup mode", Hint: "on " + e.Host + ": select pg_stop_backup()"}
}
