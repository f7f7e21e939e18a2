package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/lab"
)

// tape is what a real host of a lab answers. What is asked for the first time is
// run there, as the login user, and its answer is kept: so the tape always fits
// the tool that is measured.
type tape struct {
	lab  *lab.Lab
	name string

	mu      sync.Mutex
	outputs map[string][]byte // of a command, words that are new each time replaced
	replies map[string][]byte // of the server, to one request
}

func newTape(l *lab.Lab, name string) *tape {
	return &tape{lab: l, name: name, outputs: map[string][]byte{}, replies: map[string][]byte{}}
}

// once are the words that differ from call to call: marks of a command, and the
// nonce of a script.
var once = regexp.MustCompile(`(pgrepctl-|-- )?\b[A-Z2-7]{26}\b`)

// answer does what sshd does with one command.
func (t *tape) answer(ctx context.Context, line string, ch io.ReadWriter) error {
	words := once.FindAllString(line, -1)
	if len(words) == 0 {
		return fmt.Errorf("unexpected command: %.200s", line)
	}
	// The mark, and the process id: only then is the input sent.
	if _, err := fmt.Fprintf(ch, "%s 4242\n", words[0]); err != nil {
		return err
	}
	switch {
	case strings.Contains(line, "pgrepctl-guard"):
		_, err := io.Copy(io.Discard, ch)
		return err
	case strings.Contains(line, "pgrepctl-bridge"):
		if _, err := fmt.Fprintf(ch, "%s ok\n", words[len(words)-1]); err != nil {
			return err
		}
		return t.serveSQL(ctx, line, ch)
	}
	return t.replay(ctx, line, words, ch)
}

// replay answers a command that reads its input and ends.
func (t *tape) replay(ctx context.Context, line string, words []string, ch io.ReadWriter) error {
	in, err := io.ReadAll(ch)
	if err != nil {
		return err
	}
	key := once.ReplaceAllString(line, "WORD")
	t.mu.Lock()
	out, ok := t.outputs[key]
	if !ok {
		var b bytes.Buffer
		err := t.run(ctx, line, host.Stdio{In: bytes.NewReader(in), Out: &b})
		if err != nil {
			t.mu.Unlock()
			return err
		}
		_, out, _ = bytes.Cut(b.Bytes(), []byte("\n")) // the mark
		for i, w := range words {
			out = bytes.ReplaceAll(out, []byte(strings.TrimPrefix(w, "-- ")), fmt.Appendf(nil, "<word %d>", i))
		}
		t.outputs[key] = out
	}
	t.mu.Unlock()
	for i, w := range words {
		out = bytes.ReplaceAll(out, fmt.Appendf(nil, "<word %d>", i), []byte(strings.TrimPrefix(w, "-- ")))
	}
	_, err = ch.Write(out)
	return err
}

func (t *tape) run(ctx context.Context, line string, stdio host.Stdio) error {
	return t.lab.Run(ctx, t.name, []string{"su", "-l", "admin", "-c", line}, stdio)
}

// serveSQL answers on a bridge to the server: each request ends with a message
// that the server answers with ReadyForQuery.
func (t *tape) serveSQL(ctx context.Context, line string, ch io.ReadWriter) error {
	client := bufio.NewReader(ch)
	var live *liveBridge
	for first := true; ; first = false {
		request, err := readRequest(client, first)
		if err != nil || request[0] == 'X' {
			return live.close()
		}
		t.mu.Lock()
		reply, ok := t.replies[string(request)]
		if !ok && live == nil && !first {
			t.mu.Unlock()
			return fmt.Errorf("a request that was not recorded: %.200q", request)
		}
		if !ok {
			if live == nil {
				live = t.bridge(ctx, line)
			}
			if reply, err = live.ask(request); err != nil {
				t.mu.Unlock()
				return err
			}
			t.replies[string(request)] = reply
		}
		t.mu.Unlock()
		if _, err := ch.Write(reply); err != nil {
			return live.close()
		}
	}
}

// readRequest reads up to Query, Sync or Terminate; the first message of a
// session has no type.
func readRequest(r *bufio.Reader, first bool) ([]byte, error) {
	var all []byte
	for {
		kind := byte(0)
		if !first {
			var err error
			if kind, err = r.ReadByte(); err != nil {
				return nil, err
			}
			all = append(all, kind)
		}
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		if all = append(all, body...); first || kind == 'Q' || kind == 'S' || kind == 'X' {
			return all, nil
		}
	}
}

// readBody reads a length and what it counts.
func readBody(r *bufio.Reader) ([]byte, error) {
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(r, body)
	return body, err
}

// liveBridge is the real one, on the lab's host.
type liveBridge struct {
	to   io.WriteCloser
	from *bufio.Reader
}

func (t *tape) bridge(ctx context.Context, line string) *liveBridge {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	go func() { _ = outW.CloseWithError(t.run(ctx, line, host.Stdio{In: inR, Out: outW})) }()
	b := &liveBridge{to: inW, from: bufio.NewReader(outR)}
	for range 2 { // the words that answer has said itself
		_, _ = b.from.ReadString('\n')
	}
	return b
}

func (b *liveBridge) ask(request []byte) ([]byte, error) {
	if _, err := b.to.Write(request); err != nil {
		return nil, err
	}
	var all []byte
	for {
		kind, err := b.from.ReadByte()
		if err != nil {
			return nil, err
		}
		body, err := readBody(b.from)
		if err != nil {
			return nil, err
		}
		if all = append(append(all, kind), body...); kind == 'Z' {
			return all, nil
		}
	}
}

func (b *liveBridge) close() error {
	if b == nil {
		return nil
	}
	return b.to.Close()
}
