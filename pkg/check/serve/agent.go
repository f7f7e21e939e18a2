package serve

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/check"
)

const (
	// agentPatience is how long whoever connects may take.
	agentPatience = 2 * time.Second
	// agentLine bounds what is read of him.
	agentLine = 256
	// agentMost bounds how many are served at a time.
	agentMost = 256
)

// ServeAgent answers HAProxy's agent-check on l until ctx ends: one line for each
// connection. It is about the host fixed or, if that is empty, the one that the
// line which HAProxy sends (agent-send "pg2\n") names; a second word asks another
// question than replica ("pg1 primary\n").
func (s *Server) ServeAgent(ctx context.Context, l net.Listener, fixed string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	room := make(chan struct{}, agentMost)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of file descriptors, say
			if !sleep(ctx, 100*time.Millisecond) {
				return nil
			}
			continue
		}
		select {
		case room <- struct{}{}:
			wg.Go(func() {
				defer func() { <-room }()
				s.agent(c, fixed)
			})
		default:
			_ = c.Close()
		}
	}
}

func (s *Server) agent(c net.Conn, fixed string) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(agentPatience))
	if all := s.board.Members(); fixed == "" && len(all) == 1 {
		fixed = all[0].Name
	}
	in := bufio.NewReader(io.LimitReader(c, agentLine))
	if fixed != "" {
		_, _ = io.WriteString(c, s.Agent(fixed))
	} else if line, err := in.ReadString('\n'); err == nil || line != "" && errors.Is(err, io.EOF) {
		_, _ = io.WriteString(c, s.Agent(line))
	}
	// What is unread when a socket is closed makes a reset of the end, and that can
	// take our answer with it.
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, in)
}

// Agent is the answer to a line of HAProxy's: HOST or HOST QUESTION, where HOST may
// be BACKEND/SERVER.
func (s *Server) Agent(line string) string {
	words := strings.Fields(line)
	q := check.AskReplica
	if len(words) == 2 {
		var ok bool
		if q, ok = check.ParseQuestion(words[1]); !ok {
			return "fail #no such question\n"
		}
	}
	if len(words) < 1 || len(words) > 2 {
		return "fail #want agent-send \"HOST\\n\"\n"
	}
	// The backend that HAProxy names need not be the inventory's.
	name := cmp.Or(s.member(words[0]), s.member(words[0][strings.LastIndexByte(words[0], '/')+1:]))
	if name == "" {
		return "fail #no such host in the inventory\n"
	}
	return s.policy.Agent(q, s.State(name, check.Limit{}), s.o.Now())
}
