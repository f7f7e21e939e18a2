package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/hba"
)

// backupNumber is what differs between one backup label and the next.
var backupNumber = regexp.MustCompile(`(pgrepctl:run\d+:\w+ )?backup \d+`)

// backupLabel is the file of a backup. An exclusive one is told from others by its name,
// too, which has the run.
func (w *world) backupLabel(n int) string {
	name := w.named[n]
	if name != "" {
		name += " "
	}
	return fmt.Sprintf("LABEL: %sbackup %d\n", name, n)
}

// sqlSession is one session on a machine's server. A transaction is a list of
// acts that COMMIT does.
type sqlSession struct {
	m      *machine
	lost   chan struct{}
	once   sync.Once
	tx     []func()
	inTx   bool
	xid    string
	backup int                // 0: none
	holds  string             // its temporary slot
	spaces []facts.Tablespace // at its start
}

func (s *sqlSession) end() {
	s.once.Do(func() { close(s.lost) })
	for k, holder := range s.m.w.locks {
		if holder == s {
			delete(s.m.w.locks, k)
		}
	}
	s.tx, s.inTx, s.backup, s.holds = nil, false, 0, ""
}

func (m *machine) SQL(ctx context.Context, _ host.Database) (host.SQL, error) {
	if err := m.ask(ctx, "connect"); err != nil {
		return nil, err
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if !m.running {
		return nil, host.ErrNoServer
	}
	s := &sqlSession{m: m, lost: make(chan struct{})}
	m.w.sessions = append(m.w.sessions, s)
	return s, nil
}

func (s *sqlSession) Lost() <-chan struct{} { return s.lost }

func (s *sqlSession) Close(context.Context) error {
	s.m.w.mu.Lock()
	defer s.m.w.mu.Unlock()
	s.m.w.sessions = slices.DeleteFunc(s.m.w.sessions, func(x *sqlSession) bool { return x == s })
	s.end()
	return nil
}

// ask is the way to a host: a dead tool does not come through, and a test may
// interfere.
func (m *machine) ask(ctx context.Context, do string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.w.mu.Lock()
	dead, hook := m.w.dead, m.w.hook
	m.w.mu.Unlock()
	if dead {
		return errDead
	}
	if hook != nil {
		return hook(ctx, m.name, do)
	}
	return nil
}

func (s *sqlSession) alive(ctx context.Context, sql string) error {
	if err := s.m.ask(ctx, "sql "+sql); err != nil {
		return err
	}
	select {
	case <-s.lost:
		return errors.New("the session is lost")
	default:
		return nil
	}
}

var (
	createRole = regexp.MustCompile(`^CREATE ROLE "?(\w+)"? LOGIN REPLICATION NOSUPERUSER NOINHERIT PASSWORD '(.*)'$`)
	dropRole   = regexp.MustCompile(`^DROP ROLE "?(\w+)"?$`)
	createSlot = regexp.MustCompile(`pg_create_physical_replication_slot\('(\w+)', true, false\)`)
	holdSlot   = regexp.MustCompile(`pg_create_physical_replication_slot\('(\w+)', true, true\)`)
	copySlot   = regexp.MustCompile(`pg_copy_physical_replication_slot\('(\w+)', '(\w+)', false\)`)
	dropSlot   = regexp.MustCompile(`^select pg_drop_replication_slot\('(\w+)'\)$`)
	noRole     = regexp.MustCompile(`from pg_roles where rolname = '(\w+)'`)
	endSender  = regexp.MustCompile(`^select pg_terminate_backend\(active_pid\) from pg_replication_slots where slot_name = '(\w+)' and active_pid (?:is not null|in \(select pid from pg_stat_replication where application_name = 'pg2'\)); select pg_drop_replication_slot\('(\w+)'\)$`)
	isSlot     = regexp.MustCompile(`^select exists \(select from pg_replication_slots where slot_name = '(\w+)'`)
	setSync    = regexp.MustCompile(`^ALTER SYSTEM SET (synchronous_standby_names) = '(.*)'$`)
	resetSync  = regexp.MustCompile(`^ALTER SYSTEM RESET (synchronous_standby_names)$`)
	noSync     = regexp.MustCompile(`pg_file_settings where name = '(synchronous_standby_names)' and setting = '(.*)'\) as done$`)
	noSlot     = regexp.MustCompile(`not exists \(select from pg_replication_slots where slot_name = '(\w+)'`)
)

func (s *sqlSession) Exec(ctx context.Context, sql string) error {
	if err := s.alive(ctx, sql); err != nil {
		return err
	}
	w := s.m.w
	switch {
	case sql == "BEGIN", strings.HasPrefix(sql, "BEGIN; "):
		s.inTx = true
		return nil
	case sql == "ROLLBACK":
		s.tx, s.inTx, s.xid = nil, false, ""
		return nil
	case strings.HasPrefix(strings.ToLower(sql), "set "), strings.Contains(sql, "set_config(name"), strings.Contains(sql, "pg_logical_emit_message"), sql == "select 1", sql == "CHECKPOINT":
		return nil
	case sql == "select pg_promote(false)":
		return w.change(s.m.name+": promote", s.m.endRecovery)
	case sql == "select pg_wal_replay_pause()":
		return w.change(s.m.name+": pause", func() { s.m.replay.paused = true })
	case sql == "select pg_wal_replay_resume()":
		return w.change(s.m.name+": resume", s.m.resumeReplay)
	case sql == "COMMIT":
		acts := s.tx
		s.tx, s.inTx = nil, false
		return w.change(s.m.name+": COMMIT", func() {
			for _, act := range acts {
				act()
			}
		})
	case sql == "select pg_reload_conf()":
		return w.change(s.m.name+": reload", func() {
			s.m.load()
			w.reconnect()
		})
	}
	if ok, err := s.ddlExec(sql); ok {
		return err
	}
	act, err, ok := s.scratchAct(sql)
	if err != nil {
		return err
	}
	if ok {
	} else if g := createRole.FindStringSubmatch(sql); g != nil {
		if w.has(w.roles, g[1]) {
			return &host.SQLError{Code: "42710", Message: "role exists"}
		}
		act = func() { w.roles[g[1]] = strings.ReplaceAll(g[2], "''", "'") }
	} else if g := dropRole.FindStringSubmatch(sql); g != nil {
		if !w.has(w.roles, g[1]) {
			return &host.SQLError{Code: "42704", Message: "role does not exist"}
		}
		act = func() { delete(w.roles, g[1]) }
	} else if g := createSlot.FindStringSubmatch(sql); g != nil {
		if w.has(w.slots, g[1]) {
			return &host.SQLError{Code: "42710", Message: "slot exists"}
		}
		act = func() {
			w.slots[g[1]] = ""
			w.reconnect()
		}
	} else if g := holdSlot.FindStringSubmatch(sql); g != nil {
		act = func() { s.holds = g[1] }
	} else if g := copySlot.FindStringSubmatch(sql); g != nil {
		if s.holds != g[1] {
			return &host.SQLError{Code: "42704", Message: "slot does not exist"}
		}
		if w.has(w.slots, g[2]) {
			return &host.SQLError{Code: "42710", Message: "slot exists"}
		}
		act = func() {
			w.slots[g[2]] = ""
			w.reconnect()
		}
	} else if g := endSender.FindStringSubmatch(sql); g != nil {
		act = func() { delete(w.slots, g[2]) }
	} else if g := createPlain.FindStringSubmatch(sql); g != nil {
		if w.has(w.slots, g[1]) {
			return &host.SQLError{Code: "42710", Message: "slot exists"}
		}
		act = func() { w.slots[g[1]], w.reserved[g[1]] = "", false }
	} else if g := dropSlot.FindStringSubmatch(sql); g != nil {
		if !w.has(w.slots, g[1]) {
			return &host.SQLError{Code: "42704", Message: "slot does not exist"}
		}
		if w.slots[g[1]] != "" {
			return &host.SQLError{Code: "55006", Message: "slot is in use"}
		}
		act = func() { delete(w.slots, g[1]); delete(w.lost, g[1]) }
	} else if g := setSync.FindStringSubmatch(sql); g != nil {
		act = func() { s.m.alter(func(f *conf.File) error { return f.Set(g[1], g[2]) }) }
	} else if g := resetSync.FindStringSubmatch(sql); g != nil {
		act = func() { s.m.alter(func(f *conf.File) error { f.Unset(g[1]); return nil }) }
	} else {
		w.t.Errorf("%s was asked to execute: %s", s.m.name, sql)
		return errors.New("not modelled")
	}
	if s.inTx {
		s.tx = append(s.tx, act)
		return nil
	}
	return w.change(s.m.name+": "+sql, act)
}

// alter edits postgresql.auto.conf as ALTER SYSTEM does.
func (m *machine) alter(edit func(*conf.File) error) {
	text, _ := m.fs.Get(m.data("postgresql.auto.conf"))
	f := conf.Parse([]byte(text))
	if err := edit(f); err != nil {
		m.w.t.Error(err)
	}
	m.fs.Put(m.data("postgresql.auto.conf"), "postgres", 0o600, string(f.Bytes()))
}

func (w *world) has(set map[string]string, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := set[name]
	return ok
}

// change is one act on the world between two instants at which the tool may die.
func (w *world) change(what string, act func()) error {
	if err := w.tick(what, false); err != nil {
		return err
	}
	w.mu.Lock()
	act()
	w.mu.Unlock()
	return w.tick(what, true)
}

func (s *sqlSession) Query(ctx context.Context, dst any, sql string, args ...any) error {
	if err := s.alive(ctx, sql); err != nil {
		return err
	}
	rows, err := s.rows(sql, args)
	if err != nil {
		return err
	}
	b, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, dst)
}

type row = map[string]any

func (s *sqlSession) rows(sql string, args []any) ([]row, error) {
	w, m := s.m.w, s.m
	if rows, err, ok := s.exclusiveRows(sql, args); ok {
		return rows, err
	}
	if g := noRole.FindStringSubmatch(sql); g != nil {
		return []row{{"done": !w.has(w.roles, g[1])}}, nil
	}
	if g := isSlot.FindStringSubmatch(sql); g != nil {
		return []row{{"done": w.has(w.slots, g[1])}}, nil
	}
	if g := noSlot.FindStringSubmatch(sql); g != nil {
		return []row{{"done": !w.has(w.slots, g[1])}}, nil
	}
	if g := noSync.FindStringSubmatch(sql); g != nil {
		text, _ := m.fs.Get(m.data("postgresql.auto.conf"))
		have, _ := conf.Parse([]byte(text)).Get(g[1])
		return []row{{"done": have.Value != g[2]}}, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if rows, ok := s.scratchRows(sql, args); ok {
		return rows, nil
	}
	if rows, ok := m.replayRows(sql); ok {
		return rows, nil
	}
	if rows, ok := s.ddlRows(sql, args); ok {
		return rows, nil
	}
	switch {
	case strings.HasSuffix(sql, "as room from pg_replication_slots"):
		return []row{{"room": true}}, nil
	case strings.HasPrefix(sql, "select count(*) as count from pg_stat_activity"):
		return []row{{"count": 0}}, nil
	case strings.HasPrefix(sql, "select pg_try_advisory_lock"):
		if _, taken := w.locks[m.name]; taken {
			return []row{{"ok": false}}, nil
		}
		w.locks[m.name] = s
		return []row{{"ok": true}}, nil
	case strings.Contains(sql, "from pg_locks"):
		return []row{{"pid": 7, "application": "pgrepctl other bob@desk", "since": "2026-11-22"}}, nil
	case strings.Contains(sql, "pg_backup_start"):
		w.backups++
		s.backup, s.spaces = w.backups, slices.Clone(w.spaces)
		return []row{{"lsn": fmt.Sprintf("0/%d000028", s.backup)}}, nil
	case strings.Contains(sql, "pg_backup_stop"):
		if s.backup == 0 {
			return nil, &host.SQLError{Code: "55000", Message: "backup is not in progress"}
		}
		label := w.backupLabel(s.backup)
		r := row{"lsn": "0/9000100", "labelfile": label, "spcmapfile": nil}
		text := ""
		for _, ts := range s.spaces {
			text += fmt.Sprintf("%d %s\n", ts.OID, ts.Location)
		}
		if text != "" {
			r["spcmapfile"] = text
		}
		s.backup = 0
		return []row{r}, nil
	case strings.Contains(sql, "pg_conf_load_time"):
		return []row{{"at": fmt.Sprint(m.loads)}}, nil
	case strings.Contains(sql, "pg_file_settings"):
		return nil, nil
	case strings.Contains(sql, "from pg_stat_replication where application_name"):
		if w.streams() && args[0] == "pg2" {
			if w.lags {
				return []row{{"state": "streaming", "sent": "0/1000000", "goal": "0/9000000"}}, nil
			}
			return []row{{"state": "streaming"}}, nil
		}
		return nil, nil
	case strings.HasPrefix(sql, "select case when pg_is_in_recovery()") && strings.HasSuffix(sql, " as timeline"):
		return []row{{"timeline": m.timeline()}}, nil
	case strings.Contains(sql, "pg_control_system"):
		return []row{{"system": systemID, "timeline": 1, "recovery": m.recovery, "paused": false}}, nil
	case strings.Contains(sql, "pg_current_wal_lsn"):
		return []row{{"lsn": "0/A000000"}}, nil
	case strings.HasSuffix(sql, "not pg_is_in_recovery() as writable"):
		return []row{{"receive": "0/A000000", "replay": "0/A000000", "paused": false, "writable": !m.recovery}}, nil
	case strings.HasSuffix(sql, "current_setting('data_directory') as dir"):
		return []row{{"dir": m.data("")}}, nil
	case strings.Contains(sql, "restart_lsn is not null and not active"):
		return []row{{"done": w.reserved[args[0].(string)]}}, nil
	case strings.Contains(sql, "active from pg_replication_slots"):
		user, ok := w.slots[args[0].(string)]
		if !ok {
			return nil, nil
		}
		return []row{{"active": user != ""}}, nil
	case strings.Contains(sql, "pg_ls_dir('pg_wal')"):
		return []row{{"name": w.oldest, "size": 16 << 20}}, nil
	case strings.HasPrefix(sql, "select pg_last_wal_replay_lsn()::text"):
		return []row{{"replay": "0/A000000"}}, nil
	case strings.Contains(sql, "slot_name as name from pg_replication_slots"):
		if _, ok := w.slots[args[0].(string)]; ok {
			return []row{{"name": args[0]}}, nil
		}
		return nil, nil
	case strings.Contains(sql, "application from pg_stat_replication order by"):
		return nil, nil
	case sql == "select 1 as way", strings.HasPrefix(sql, "select txid_current() as commit"):
		return []row{{}}, nil
	case sql == "select pg_is_in_recovery() as in_recovery":
		return []row{{"in_recovery": m.recovery}}, nil
	}
	w.t.Errorf("%s was asked: %s", m.name, sql)
	return nil, errors.New("not modelled")
}

// ReplicationLogin succeeds when the role, its password and the rules that the
// server has loaded allow it.
func (m *machine) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	if err := m.ask(ctx, "login"); err != nil {
		return host.System{}, err
	}
	w := m.w
	if l.Slot != "" {
		if err := w.reserve(l.Slot); err != nil {
			return host.System{}, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	up := w.hosts["pg1"]
	if w.roles[l.User] == "" || l.Password.Reveal() != canary {
		return host.System{}, errors.New("password authentication failed")
	}
	if !admits(up.loaded["pg_hba.conf"], l.User, m.inv.Address) {
		return host.System{}, fmt.Errorf("no pg_hba.conf entry for replication connection from host %q", m.inv.Address)
	}
	return host.System{ID: systemID}, nil
}

func admits(text, user, address string) bool {
	rule := hba.Rule{Type: "hostssl", Databases: []hba.Token{{Value: "replication"}}, Users: []hba.Token{{Value: user}}, Address: address + "/32", Method: "scram-sha-256"}
	_, changed, err := hba.Parse([]byte(text)).Ensure(rule, "")
	return err == nil && !changed
}
