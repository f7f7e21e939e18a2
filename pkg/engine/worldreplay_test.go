package engine_test

import (
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
	"github.com/pgrepctl/pgrepctl/pkg/replay"
)

// The WAL of the world: pg2 has received all of it. What nobody wants replayed lies
// behind the target.
const (
	replayedAt = postgres.LSN(0x9000000)
	targetAt   = postgres.LSN(0x9800000)
	accidentAt = postgres.LSN(0x9900000)
	walEnd     = postgres.LSN(0xA000000)
)

// replaying is where the server of a standby is in its WAL.
type replaying struct {
	paused bool
	target string // recovery_target_lsn, as the server was started with
	// at is how far it has replayed; 0 where no test asks: all.
	at postgres.LSN
}

func (m *machine) autoConf(name string) string {
	have, _ := conf.Parse([]byte(m.loaded["postgresql.auto.conf"])).Get(name)
	return have.Value
}

// startReplay is what a standby does when it is started: a pause has ended with the
// server before, and a recovery target is read.
func (m *machine) startReplay() {
	m.replay.paused, m.replay.target = false, m.autoConf("recovery_target_lsn")
	m.advance()
}

// advance replays what nothing keeps it from.
func (m *machine) advance() {
	r := &m.replay
	if r.paused || r.at == 0 {
		return
	}
	delay, err := conf.Delay(m.autoConf("recovery_min_apply_delay"))
	if m.autoConf("recovery_min_apply_delay") != "" && err != nil {
		m.w.t.Error(err)
	}
	switch {
	case delay > 0 && !m.w.ofAge:
	case r.target != "":
		at, err := postgres.ParseLSN(r.target)
		if err != nil {
			m.w.t.Error(err)
		}
		r.at, r.paused = max(r.at, at), true
	default:
		r.at = m.w.end()
	}
}

// resumeReplay is pg_wal_replay_resume(): at a recovery target that ends recovery.
func (m *machine) resumeReplay() {
	if m.replay.paused && m.replay.target != "" {
		m.endRecovery()
		return
	}
	m.replay.paused = false
	m.advance()
}

func (m *machine) endRecovery() {
	m.recovery, m.replay.paused = false, false
	m.fs.Delete(m.data("standby.signal"))
}

func (m *machine) position() postgres.LSN {
	if m.replay.at == 0 {
		return walEnd
	}
	return m.replay.at
}

func (m *machine) pauseState() string {
	if m.replay.paused {
		return replay.Paused
	}
	return replay.NotPaused
}

func (m *machine) receiver() string {
	if m.w.streams() {
		return "streaming"
	}
	return ""
}

// reconnect is what a walreceiver does every few seconds. w.mu is held.
func (w *world) reconnect() {
	if w.streams() {
		w.slots["pg2"] = "pg2"
	}
}

// tellReplay adds the facts of a standby's replay.
func (m *machine) tellReplay(s *facts.Server) {
	at, end := m.position(), m.w.end()
	s.LSN = at
	s.Replay.ReceiverStatus, s.Replay.Receive, s.Replay.Replay = m.receiver(), &end, &at
	s.Replay.Paused, s.Replay.PauseState = m.replay.paused, m.pauseState()
}

// recoverySettings are those that the server was started with, and the delay, which
// a reload changes.
func (m *machine) recoverySettings() []postgres.Setting {
	delay := m.autoConf("recovery_min_apply_delay")
	d, err := conf.Delay(delay)
	if delay != "" && err != nil {
		m.w.t.Error(err)
	}
	return []postgres.Setting{
		{Name: "recovery_min_apply_delay", Value: fmt.Sprint(d.Milliseconds()), BootValue: "0", Unit: "ms", Vartype: "integer", Context: "sighup", Source: "configuration file"},
		{Name: "recovery_target_lsn", Value: m.replay.target, Vartype: "string", Context: "postmaster", Source: "configuration file"},
	}
}

// replayRows answers what is asked about replay. w.mu is held.
func (m *machine) replayRows(sql string) ([]row, bool) {
	v := m.version()
	switch sql {
	case v.ReplayProgress():
		r := row{"in_recovery": m.recovery, "now": "2026-11-22T04:00:00Z", "receiver": m.receiver()}
		if m.recovery {
			r["state"], r["receive"], r["replay"] = m.pauseState(), m.w.end().String(), m.position().String()
		}
		return []row{r}, true
	case v.RecoveryTargetQuery():
		if m.replay.target == "" {
			return nil, true
		}
		return []row{{"name": "recovery_target_lsn", "value": m.replay.target}}, true
	case v.ReplayLocks():
		return nil, true
	}
	return nil, false
}
