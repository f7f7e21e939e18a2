package status

import (
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// standstill is the least time between two readings that tell a receiver that
// stands still from one that is a moment behind.
const standstill = time.Second

// lateReply is when a walsender that sends should have heard of its receiver:
// twice wal_receiver_status_interval, as it is without being set.
const lateReply = 20.0

// muchUnflushed is more than a receiver that works leaves unflushed, in bytes.
const muchUnflushed = 1 << 20

// Following is a reading together with the one before it: with one that is at
// least a standstill older.
func (r Result) Following(before Result) Result {
	switch {
	case before.Facts == nil:
	case r.At.Sub(before.At) >= standstill:
		r.Earlier, r.EarlierAt = before.Facts, before.At
	default:
		r.Earlier, r.EarlierAt = before.Earlier, before.EarlierAt
	}
	return r
}

// stuck compares two readings: what the upstream had written at the first has not
// been received at the second, and nothing else has. It tells for how long, at
// least.
func stuck(res, up Result) (bool, time.Duration) {
	f, was := res.Facts, res.Earlier
	if was == nil || up.Earlier == nil || !f.Server.InRecovery || f.Server.Replay.ReceiverStatus == "" {
		return false, 0
	}
	now, before := f.Server.Replay.Receive, was.Server.Replay.Receive
	since := res.At.Sub(res.EarlierAt)
	if now == nil || before == nil || *now != *before || since < standstill || res.At.Sub(up.EarlierAt) < standstill {
		return false, 0
	}
	return end(up.Earlier) > *now, since
}

// ahead: the standby had WAL that its upstream, which writes on, did not have a
// while later.
func ahead(res, up Result) bool {
	f, at := res.Facts, res.At
	if res.Earlier != nil {
		f, at = res.Earlier, res.EarlierAt
	}
	return up.At.Sub(at) >= standstill && end(f) > end(up.Facts)
}

// Again names the hosts that must be read a second time, a while later, because one
// reading cannot tell whether they stand still: standbys that seem to receive
// nothing, and upstreams that a standby seems to be ahead of.
func Again(cl *inventory.Cluster, results map[string]Result) []string {
	var names []string
	for _, h := range cl.Hosts {
		res, up := results[h.Name], results[h.UpstreamName]
		f := res.Facts
		if f == nil || up.Facts == nil || !f.Server.Running || !f.Server.InRecovery || !up.Facts.Server.Running {
			continue
		}
		if f.Server.Replay.ReceiverStatus == "" {
			if f.Server.Timeline == up.Facts.Server.Timeline && end(f) > end(up.Facts) && senderOf(up.Facts, h) == nil {
				names = append(names, h.UpstreamName)
			}
			continue
		}
		if at := f.Server.Replay.Receive; at != nil && *at < end(up.Facts) && silent(senderOf(up.Facts, h)) {
			names = append(names, h.Name)
		}
	}
	return names
}

// silent: the receiver seems to answer its walsender no more.
func silent(s *facts.Sender) bool {
	return s == nil || s.ReplyAge != nil && *s.ReplyAge > lateReply || s.Sent != nil && s.Flush != nil && s.Sent.Sub(*s.Flush) > muchUnflushed
}
