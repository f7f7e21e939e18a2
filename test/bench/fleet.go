package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// fleet is many hosts as one process: each an SSH server with an address and a host
// key of its own, which answers as a real host of a lab did. It is a process of
// its own, so that the memory of the tool is the tool's alone.
type fleet struct {
	hosts map[netip.Addr]*ssh.ServerConfig
	first netip.Addr // the primary
	tapes map[bool]*tape
}

// fleetDelay is the time from one end to the other and back.
const fleetDelay = 5 * time.Millisecond

// fleetAddress of host i, counted from 0, on the loopback network.
func fleetAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 77, byte(i / 250), byte(i%250 + 1)})
}

// serveFleet serves n hosts until its standard input ends. It writes into dir what
// a client needs (id, known_hosts), then prints its port.
func serveFleet(ctx context.Context, n int, dir, labState, labName string) error {
	l, err := lab.Open(labState, labName)
	if err != nil {
		return err
	}
	_, user, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(user, "fleet")
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(user)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "id"), pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	f := &fleet{hosts: map[netip.Addr]*ssh.ServerConfig{}, first: fleetAddress(0),
		tapes: map[bool]*tape{true: newTape(l, "h1"), false: newTape(l, "h3")}}
	var known strings.Builder
	for i := range n {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		hostKey, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return err
		}
		cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), signer.PublicKey().Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		}}
		cfg.AddHostKey(hostKey)
		f.hosts[fleetAddress(i)] = cfg
		known.WriteString(knownhosts.Line([]string{fmt.Sprintf("%s:%d", fleetAddress(i), port)}, hostKey.PublicKey()) + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o600); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = listener.Close()
	}()
	fmt.Println(port)
	for {
		c, err := listener.Accept()
		if err != nil {
			return nil
		}
		go f.serve(ctx, c)
	}
}

func (f *fleet) serve(ctx context.Context, c net.Conn) {
	defer c.Close()
	at := netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
	_, channels, requests, err := ssh.NewServerConn(late(c), f.hosts[at])
	if err != nil {
		return
	}
	go func() {
		for r := range requests {
			_ = r.Reply(false, nil)
		}
	}()
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.Prohibited, "administratively prohibited")
			continue
		}
		go f.session(ctx, f.tapes[at == f.first], ch)
	}
}

func (f *fleet) session(ctx context.Context, t *tape, open ssh.NewChannel) {
	ch, requests, err := open.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	for r := range requests {
		var arg struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &arg) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		go func() {
			for r := range requests {
				_ = r.Reply(false, nil)
			}
		}()
		code := uint32(0)
		if err := t.answer(ctx, arg.Command, ch); err != nil && !errors.Is(err, io.EOF) { // EOF: the client is gone
			fmt.Fprintln(os.Stderr, "fleet:", err)
			code = 1
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}

// lateConn hands on what it receives after fleetDelay.
type lateConn struct {
	net.Conn
	in *io.PipeReader
}

func (c lateConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func late(c net.Conn) net.Conn {
	type chunk struct {
		due  time.Time
		data []byte
		err  error
	}
	queue := make(chan chunk, 256)
	go func() {
		defer close(queue)
		for {
			b := make([]byte, 8<<10)
			n, err := c.Read(b)
			queue <- chunk{time.Now().Add(fleetDelay), b[:n], err}
			if err != nil {
				return
			}
		}
	}()
	r, w := io.Pipe()
	go func() {
		for k := range queue {
			time.Sleep(time.Until(k.due))
			_, _ = w.Write(k.data)
			if k.err != nil {
				_ = w.CloseWithError(k.err)
			}
		}
	}()
	return lateConn{c, r}
}
