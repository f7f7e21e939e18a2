package steps

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

const (
	// maxStreams is the most that are of use, and that leave room for all else on
	// one connection: sshd opens ten sessions.
	maxStreams = 4
)

// copying is how a copy goes over the link. The keys of a copy and its commands are
// planned by two steps, and rsync's two ends must be told the same.
type copying struct {
	streams  int
	compress string // auto, zstd or none
	plain    string // why auto is none here
	limit    int64  // bytes a second of all streams together, 0 is none
}

// given is what a step was given, or what the inventory has for the host.
func given(value, inventory string) string {
	if value == "" || value == "inventory" {
		return inventory
	}
	return value
}

// copyOptions checks and completes what steps are given; all may be empty.
func copyOptions(streams, compress, limit string, self, up *facts.Host) (copying, error) {
	streams, compress, limit = given(streams, ""), given(compress, ""), given(limit, "")
	c := copying{compress: compress, streams: max(1, min(self.Machine.Cores, up.Machine.Cores, maxStreams))}
	if streams != "" && streams != "auto" {
		n, err := strconv.Atoi(streams)
		if err != nil || n < 1 || n > maxStreams {
			return c, fmt.Errorf("streams %q: want auto, or a number from 1 to %d", streams, maxStreams)
		}
		c.streams = n
	}
	switch compress {
	case "", "auto":
		c.compress = "auto"
	case "zstd", "none":
	default:
		return c, fmt.Errorf("compress %q: want auto, zstd or none", compress)
	}
	if limit != "" && limit != "none" {
		kib, err := conf.Kind{Vartype: "integer", Unit: "kB"}.Number(limit)
		if err != nil || kib < 1 || !slices.ContainsFunc([]string{"kB", "MB", "GB"}, func(u string) bool { return strings.HasSuffix(limit, u) }) {
			return c, fmt.Errorf("bwlimit %q: want bytes a second with kB, MB or GB, such as 50MB, or none", limit)
		}
		c.limit = int64(kib) << 10
	}
	return c, nil
}

// settle looks whether both ends can compress.
func (c copying) settle(self, up *facts.Host) (copying, error) {
	if c.compress == "none" {
		return c, nil
	}
	for _, h := range []*facts.Host{up, self} {
		if h.Machine.RsyncZstd {
			continue
		}
		why := fmt.Sprintf("rsync %s on %s knows no zstd", h.Machine.RsyncVersion, h.Name)
		if c.compress == "zstd" {
			return c, fault.Refuse(h.Name, "use --compress none, or auto", fmt.Errorf("%s: 3.2 is the first that may", why))
		}
		c.compress, c.plain = "none", why
		return c, nil
	}
	return c, nil
}

// copying is copyOptions for the two hosts of a copy.
func (in In) copying(streams, compress, limit string, self, up *facts.Host) (copying, error) {
	own := in.Self.Copying
	streams, compress, limit = given(streams, own.Streams), given(compress, own.Compress), given(limit, own.BWLimit)
	c, err := copyOptions(streams, compress, limit, self, up)
	if err != nil {
		return c, err
	}
	return c.settle(self, up)
}

// each is what one stream may take, in rsync's KiB a second.
func (c copying) each() int64 { return max(1, c.limit/int64(c.streams)>>10) }

// flags are rsync's, of either end.
func (c copying) flags(zstd bool) []string {
	f := rsyncFlags()
	if c.limit > 0 {
		f = append(f, "--bwlimit="+strconv.FormatInt(c.each(), 10))
	}
	if zstd {
		f = append(f, effect.ZstdFlags()...)
	}
	return f
}

// commitLimit reads a duration, auto or none.
func commitLimit(s string) (effect.CommitLimit, error) {
	switch s {
	case "", "auto", "inventory":
		return effect.CommitLimit{}, nil
	case "none":
		return effect.CommitLimit{Off: true}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return effect.CommitLimit{}, fmt.Errorf("commit-limit %q: want a time such as 20ms, auto or none", s)
	}
	return effect.CommitLimit{Most: d}, nil
}
