package effect

import (
	"context"
	_ "embed"
	"errors"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// BackupSwitch leaves a process on a host that ends the exclusive backup of this run
// when this machine falls silent: nothing else would, and the server stays in backup
// mode until somebody comes. It is armed before the backup begins.
type BackupSwitch struct {
	Host  string `json:"host"`
	As    string `json:"as"`
	Label string `json:"-"`
	// Bin is the server's directory of programs.
	Bin string `json:"-"`
}

//go:embed backupswitch.sh
var backupSwitchScript string

func (e *BackupSwitch) Kind() string    { return "backup-switch" }
func (e *BackupSwitch) On() string      { return e.Host }
func (e *BackupSwitch) Inverse() Effect { return nil } // it ends with its session
func (e *BackupSwitch) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *BackupSwitch) Inert() bool { return true }

func (e *BackupSwitch) Describe() Description {
	return Description{Verb: "arm", Subject: "a dead-man's switch", Detail: "(" + e.Host + " ends the backup of this run by itself when this machine falls silent)"}
}

func (e *BackupSwitch) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	db, err := env.Database(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	end, err := postgres.EndExclusiveBackup(e.Label)
	if err != nil {
		return nil, err
	}
	login := []string{"-h", db.SocketDir, "-p", strconv.Itoa(db.Port), "-d", "postgres"}
	if db.Name != "" {
		login[len(login)-1] = db.Name
	}
	if db.User != "" {
		login = append(login, "-U", db.User)
	}
	cmd := host.Cmd{Argv: append([]string{"/bin/sh", "-c", backupSwitchScript, "pgrepctl-backup-switch", end, e.Bin}, login...), As: e.As, Leash: true}
	s, err := arm(ctx, h, cmd, strings.NewReader(""))
	if err != nil {
		f := &fault.Error{Class: fault.Failed, Host: e.Host, Op: "start the dead-man's switch of the backup", Err: err, Stderr: host.StderrOf(err),
			State: "no backup was started"}
		var exit *host.ExitError
		if errors.As(err, &exit) && exit.Code == noPsql {
			f.Class, f.Hint = fault.Refused, "install PostgreSQL's client programs on "+e.Host+", then type the same command again"
		}
		return nil, f
	}
	env.Hold("dead-man of the backup", s)
	return nil, nil
}

// noPsql is the script's exit code where there is no psql.
const noPsql = 3
