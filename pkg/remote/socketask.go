package remote

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed ask.sh
var askScript string

//go:embed ask.pl
var askPerl string

//go:embed ask.py
var askPython string

// maxAnswer is of a socket that answers without end.
const maxAnswer = 16 << 20

// asker is a process on the host that connects to one unix socket anew for each
// question: to start it takes a hundred times as long as to ask it. The connection is
// not kept, for after a reload of what listens there, it would be one to the process
// that was.
type asker struct {
	turn chan struct{} // holds one token: whoever has it may ask
	mark string
	p    *process // nil before the first question, and after one without an answer
	out  *bufio.Reader
}

// AskSocket implements host.Host. The process that asks ends with the connection.
func (c *Conn) AskSocket(ctx context.Context, as, path, question string) (string, error) {
	if strings.ContainsAny(question, "\n\x00") {
		return "", fmt.Errorf("ask %s: a question is one line", path)
	}
	a := c.asker(as + " " + path)
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-a.turn:
	}
	defer func() { a.turn <- struct{}{} }()
	const name = "pgrepctl-ask"
	answer, err := a.by(ctx, c, as, path, question, interpreted(name, askScript, askPerl, askPython, a.mark, path))
	if !cannotRun(err) {
		return answer, err
	}
	answer, again := a.by(ctx, c, as, path, question, withoutPerl(name, askScript, askPython, a.mark, path))
	if errors.Is(again, errNoInterpreter) {
		return "", err
	}
	return answer, again
}

// by asks the process that runs or, where none does, one that argv starts.
func (a *asker) by(ctx context.Context, c *Conn, as, path, question string, argv []string) (string, error) {
	begun := a.runs()
	if !begun {
		if err := a.start(ctx, c, as, argv); err != nil {
			return "", err
		}
	}
	stop := context.AfterFunc(ctx, a.p.giveUp)
	answer, end, err := a.ask(question)
	if !stop() || err != nil {
		p := a.p
		a.p = nil
		if !begun && ctx.Err() == nil && p.endsWithin(closeGrace) && (p.err == nil || cannotRun(p.result(ctx))) {
			err = errMute
		}
		p.giveUp()
		if ctx.Err() != nil {
			return "", fmt.Errorf("ask %s: %w", path, context.Cause(ctx))
		}
		if said := host.Tail(p.stderr.String(), 1); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
		return "", fmt.Errorf("ask %s: %w", path, err)
	}
	return answer, c.askFault(as, path, end)
}

func (c *Conn) asker(key string) *asker {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.askers[key]
	if !ok {
		a = &asker{turn: make(chan struct{}, 1), mark: nonce()}
		a.turn <- struct{}{}
		c.askers[key] = a
	}
	return a
}

func (a *asker) runs() bool {
	if a.p == nil {
		return false
	}
	select {
	case <-a.p.ended:
		return false
	default:
		return true
	}
}

func (a *asker) start(ctx context.Context, c *Conn, as string, argv []string) error {
	e, err := c.elevation(ctx, as)
	if err != nil {
		return err
	}
	p, err := c.start(ctx, e, host.Cmd{Argv: []string{"socket asker"}, As: as}, argv, nil)
	if err != nil {
		return err
	}
	c.guard()
	a.p, a.out = p, bufio.NewReader(p.stdout)
	return nil
}

// ask gives the answer, and how it ended.
func (a *asker) ask(question string) (answer, end string, err error) {
	if _, err := io.WriteString(a.p.stdin, question+"\n"); err != nil {
		return "", "", err
	}
	mark := []byte(a.mark + " ")
	var said []byte
	for {
		line, err := a.out.ReadSlice('\n')
		said = append(said, line...)
		if at := bytes.LastIndex(said, mark); at >= 0 && bytes.HasSuffix(said, []byte("\n")) {
			return string(said[:at]), strings.TrimSpace(string(said[at+len(mark):])), nil
		}
		switch {
		case len(said) > maxAnswer:
			return "", "", fmt.Errorf("an answer of more than %d bytes", maxAnswer)
		case errors.Is(err, io.EOF):
			return "", "", io.ErrUnexpectedEOF
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return "", "", err
		}
	}
}

// askFault is what went wrong between the process and the socket.
func (c *Conn) askFault(as, path, end string) error {
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	word, rest, _ := strings.Cut(end, " ")
	switch word {
	case "ok":
		return nil
	case "none":
		return c.noBridge(addr)
	}
	no, text, _ := strings.Cut(rest, " ")
	errno, err := strconv.Atoi(no)
	if err != nil {
		return &fault.Error{Class: fault.Failed, Host: c.Name(), Op: "connect " + path, Err: errors.New(end)}
	}
	return c.bridgeFault(as, &bridgeError{to: path, errno: errno, text: text})
}
