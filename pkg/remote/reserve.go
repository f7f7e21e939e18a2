package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// reserve streams from a physical slot for as long as it takes to tell the server that
// all before lsn is flushed here: that is what makes a slot keep WAL before 9.6
// (PhysicalConfirmReceivedLocation in walsender.c). The server answers the end of the
// stream after it has taken that in.
func (s *session) reserve(ctx context.Context, slot, at string) error {
	if err := postgres.ValidSlotName(slot); err != nil {
		return err
	}
	lsn, err := postgres.ParseLSN(at)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loginGrace, errTimeout)
	defer cancel()
	f := s.pg.Frontend()
	f.SendQuery(&pgproto3.Query{String: fmt.Sprintf(`START_REPLICATION SLOT "%s" PHYSICAL %s`, slot, lsn)})
	if err := f.Flush(); err != nil {
		return s.explain(ctx, err)
	}
	began := func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.CopyBothResponse); return ok }
	if err := s.until(ctx, began); err != nil {
		return err
	}
	f.Send(&pgproto3.CopyData{Data: flushed(lsn, time.Now())})
	f.Send(&pgproto3.CopyDone{})
	if err := f.Flush(); err != nil {
		return s.explain(ctx, err)
	}
	ended := func(m pgproto3.BackendMessage) bool { _, ok := m.(*pgproto3.ReadyForQuery); return ok }
	return s.until(ctx, ended)
}

// until reads, and throws away, what comes before a message that is awaited.
func (s *session) until(ctx context.Context, awaited func(pgproto3.BackendMessage) bool) error {
	for {
		m, err := s.pg.ReceiveMessage(ctx)
		if err != nil {
			return s.explain(ctx, err)
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			return sqlError(pgconn.ErrorResponseToPgError(e))
		}
		if awaited(m) {
			return nil
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			return errors.New("the server did not begin to stream")
		}
	}
}

// flushed is a standby status update: written, flushed and applied up to lsn, and no
// answer wanted. Its clock counts microseconds since 2000.
func flushed(lsn postgres.LSN, now time.Time) []byte {
	epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	b := []byte{'r'}
	for range 3 {
		b = binary.BigEndian.AppendUint64(b, uint64(lsn))
	}
	b = binary.BigEndian.AppendUint64(b, uint64(now.Sub(epoch).Microseconds()))
	return append(b, 0)
}
