package remote

import (
	"context"
	_ "embed"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed guard.sh
var guardScript string

func guardArgv(ttl int) []string {
	return []string{"/bin/sh", "-c", guardScript, "pgrepctl-guard", strconv.Itoa(ttl)}
}

// guard makes the host end this connection, and what hangs on it, when we have
// been silent for as long as a leash allows. Without it sftp-server and the
// bridges to the server, which only wait, outlive a client whose power or cable
// is gone by two hours: that is when TCP notices. It is started with the first
// process that waits; the connection works without it. It is a session of this
// connection and of no other: it ends that, and ends with it.
func (c *Conn) guard() {
	c.guardOnce.Do(func() {
		room := c.ownRoom
		select {
		case c.slots <- struct{}{}: // now, before others have them all
			room = func(context.Context) (*Conn, func(), error) { return c, sync.OnceFunc(func() { <-c.slots }), nil }
		default:
		}
		c.guards.Go(func() {
			p, err := c.startIn(context.Background(), room, elevation{}, host.Cmd{Argv: []string{"guard"}}, guardArgv(leaseTTL), nil)
			if err != nil {
				return
			}
			beat := time.NewTicker(leaseBeat)
			defer beat.Stop()
			for {
				select {
				case <-p.ended:
					return
				case <-beat.C:
					if _, err := io.WriteString(p.stdin, "\n"); err != nil {
						return
					}
				}
			}
		})
	})
}
