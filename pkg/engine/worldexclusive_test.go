package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// exclusive is the backup that belongs to the server, and not to a session.
type exclusive struct {
	number int
	label  string
}

var (
	createPlain  = regexp.MustCompile(`pg_create_physical_replication_slot\('(\w+)'\)`)
	backupLabels = regexp.MustCompile(`'LABEL: ([^']+)'`)
)

// exclusiveRows answers what is asked of servers that back up as 9.5 does; ok is false
// for everything else.
func (s *sqlSession) exclusiveRows(sql string, args []any) (rows []row, err error, ok bool) {
	w, file := s.m.w, s.m.data("backup_label")
	switch {
	case sql == "select pg_start_backup($1, $2)::text as lsn":
		if w.running() != nil {
			return nil, &host.SQLError{Code: "55000", Message: "a backup is already in progress"}, true
		}
		err := w.change(s.m.name+": start of an exclusive backup", func() {
			w.backups++
			w.exclusive = &exclusive{w.backups, args[0].(string)}
			w.named[w.backups] = args[0].(string)
			s.m.fs.Put(file, "postgres", 0o600, w.backupLabel(w.backups))
		})
		return []row{{"lsn": fmt.Sprintf("0/%d000028", w.backups)}}, err, true
	case sql == postgres.ExclusiveBackupFiles():
		if w.running() == nil {
			return nil, nil, true
		}
		text, _ := s.m.fs.Get(file)
		return []row{{"label": text, "map": w.tablespaceMap()}}, nil, true
	case sql == postgres.TablespaceLocations():
		for _, ts := range w.spaces {
			rows = append(rows, row{"location": ts.Location})
		}
		return rows, nil, true
	case strings.Contains(sql, "then pg_stop_backup()"):
		if !w.owns(sql) {
			return []row{{"lsn": nil}}, nil, true
		}
		err := w.change(s.m.name+": end of an exclusive backup", w.endExclusive)
		return []row{{"lsn": "0/9000100"}}, err, true
	}
	return nil, nil, false
}

func (w *world) running() *exclusive {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.exclusive
}

// owns reports whether a statement is about the backup in progress.
func (w *world) owns(sql string) bool {
	x, label := w.running(), backupLabels.FindStringSubmatch(sql)
	return x != nil && label != nil && label[1] == x.label
}

func (w *world) endExclusive() {
	w.exclusive = nil
	w.hosts["pg1"].fs.Delete(w.hosts["pg1"].data("backup_label"))
}

func (w *world) tablespaceMap() any {
	text := ""
	for _, ts := range w.spaces {
		text += fmt.Sprintf("%d %s\n", ts.OID, ts.Location)
	}
	if text == "" {
		return nil
	}
	return text
}

// backupSwitch is as deadMan.
func (m *machine) backupSwitch(ctx context.Context, c host.Cmd, stdio host.Stdio) error {
	if !c.Leash || c.As != "postgres" {
		m.w.t.Error("the switch of the backup has no leash, or is not the server's")
	}
	i := slices.Index(c.Argv, "pgrepctl-backup-switch")
	m.w.mu.Lock()
	m.w.deadMen = append(m.w.deadMen, func() {
		if label := backupLabels.FindStringSubmatch(c.Argv[i+1]); m.w.exclusive != nil && label != nil && label[1] == m.w.exclusive.label {
			m.w.endExclusive()
		}
	})
	m.w.mu.Unlock()
	if _, err := io.WriteString(stdio.Out, "ready\n"); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// reserve is what streaming from a slot does.
func (w *world) reserve(slot string) error {
	if !w.has(w.slots, slot) {
		return errors.New("replication slot does not exist")
	}
	return w.change("pg1: stream from slot "+slot, func() { w.reserved[slot] = true })
}

// asOld gives the facts of a server that backs up as 9.5 does.
func (w *world) asOld(s *facts.Server) {
	s.BackupAs = postgres.MakeVersion(9, 5)
	s.ExclusiveBackup = w.exclusive != nil
	for i, slot := range s.Slots {
		if w.reserved[slot.Name] {
			s.Slots[i].RestartLSN = new(postgres.LSN)
		}
	}
}
