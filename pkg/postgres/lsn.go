package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log, in bytes from its beginning. The
// zero value is PostgreSQL's InvalidXLogRecPtr.
type LSN uint64

// ParseLSN reads "0/16B3748". It takes what pg_lsn_in takes: one to eight
// hexadecimal digits on each side.
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	h, err1 := hexWord(hi)
	l, err2 := hexWord(lo)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("parse lsn %q: not of the form 0/16B3748", s)
	}
	return LSN(h<<32 | l), nil
}

func hexWord(s string) (uint64, error) {
	if len(s) > 8 {
		return 0, strconv.ErrRange
	}
	return strconv.ParseUint(s, 16, 32)
}

// String is the form of PostgreSQL 9.3 to 18, without leading zeros.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// Sub is the number of bytes from o to l; negative when l is behind o.
func (l LSN) Sub(o LSN) int64 { return int64(l - o) }

// MarshalText and UnmarshalText make LSN a string in JSON and YAML.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

func (l *LSN) UnmarshalText(b []byte) error {
	v, err := ParseLSN(string(b))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// SegmentName is the name of the WAL file that holds l on timeline tli.
// segment is wal_segment_size in bytes, a power of two from 1 MiB to 1 GiB.
// A position exactly between two files belongs to the later one, where
// pg_walfile_name of older servers answers with the earlier.
func SegmentName(tli uint32, l LSN, segment uint64) (string, error) {
	if segment < 1<<20 || segment > 1<<30 || segment&(segment-1) != 0 {
		return "", fmt.Errorf("name wal segment: %d is not a wal segment size", segment)
	}
	perID := (uint64(1) << 32) / segment
	n := uint64(l) / segment
	return fmt.Sprintf("%08X%08X%08X", tli, n/perID, n%perID), nil
}
