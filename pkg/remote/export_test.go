package remote

import (
	"context"
	"net"

	"github.com/pkg/sftp"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// DialSocket is a bridge to a unix socket.
func (c *Conn) DialSocket(ctx context.Context, as, path string) (net.Conn, error) {
	b, err := c.bridge(ctx, as, &net.UnixAddr{Name: path, Net: "unix"}, "unix", path)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// FilesBy are those of a server that is connected already.
func (c *Conn) FilesBy(client *sftp.Client) host.Files {
	f := &files{conn: c, turn: make(chan struct{}, 1), client: client, process: &process{ended: make(chan struct{})}}
	f.turn <- struct{}{}
	return f
}

// Guard is what the first process that waits starts.
func (c *Conn) Guard() { c.guard() }
