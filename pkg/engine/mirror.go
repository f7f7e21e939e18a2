package engine

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

//go:embed mirror.sh
var mirrorScript string

// mirror keeps a copy of a run's journal on the primary, where every operator
// comes by: the machine that began the run may be gone for good. It has each
// intent before the act, and whatever was recorded before that intent; what came
// after the last intent may be missing, which a resume or an undo takes as
// "begun, and perhaps done".
type mirror struct {
	at place
	// journal is the file of this machine.
	journal string
	dial    func(ctx context.Context) (host.Host, error)

	live *mirroring
	size int // of the copy, in bytes, as far as it is known to have them
	// tried: it was asked for a copy. One may be there even where that failed, for the
	// answer comes after the file.
	tried bool
}

// place is where the copy of a run's journal is.
type place struct {
	on   string // the primary, or where the run meets others
	as   string // the owner of its data directory
	file string
}

func (e *Engine) place(ctx context.Context, w *world, on, run string) (place, error) {
	p, ok := e.Inventory.Host(on)
	if !ok {
		return place{}, fmt.Errorf("no host %q in the inventory", on)
	}
	h, err := w.Of(ctx, p.Name)
	if err != nil {
		return place{}, err
	}
	return place{on: p.Name, as: p.Postgres.OSUser, file: h.Machine.Own(run, facts.JournalCopy)}, nil
}

// mirroring is the process that writes the copy.
type mirroring struct {
	in     io.WriteCloser
	out    *bufio.Reader
	cancel context.CancelFunc
	ended  chan error
	ready  bool // it runs its script
	ahead  bool // it was started before there was anything to ask of it
	wrote  bool // it has begun the copy
}

// extend writes the lines that the copy has not yet.
func (m *mirror) extend(ctx context.Context, lines []byte) error {
	if !m.writes() {
		whole, err := os.ReadFile(m.journal)
		if err != nil {
			return fmt.Errorf("copy the journal: %w", err)
		}
		m.tried = true
		err = m.ask(ctx, "new\n", whole, []byte("end\n"))
		if err == nil {
			m.live.wrote, m.size = true, len(whole)
		}
		return err
	}
	err := m.ask(ctx, "add\n", lines, []byte("end\n"))
	if err == nil {
		m.size += len(lines)
	}
	return err
}

// writes reports whether the copy is being written. The process may be there before, for
// it takes longer to start than to ask.
func (m *mirror) writes() bool { return m != nil && m.live != nil && m.live.wrote }

// leaves reports whether there may be a copy that this run has made.
func (m *mirror) leaves() bool { return m != nil && m.tried }

// flush brings the copy up to date, if this run writes one.
func (m *mirror) flush(ctx context.Context, lines []byte) error {
	if !m.writes() || len(lines) == 0 {
		return nil
	}
	return m.extend(ctx, lines)
}

// remove takes the copy away: nothing is owed any more.
func (m *mirror) remove(ctx context.Context) error { return m.ask(ctx, "gone\n") }

func (m *mirror) ask(ctx context.Context, verb string, parts ...[]byte) error {
	if m.live == nil {
		if err := m.start(ctx); err != nil {
			return m.explain(err)
		}
	}
	err := within(ctx, m.live.begin)
	if err != nil && m.live.ahead && ctx.Err() == nil {
		// It had nothing to say, so nobody has seen it end, with its connection perhaps.
		_ = m.stop(ctx)
		if err := m.start(ctx); err != nil {
			return m.explain(err)
		}
		err = within(ctx, m.live.begin)
	}
	if err == nil {
		p := m.live
		err = within(ctx, func() error { return p.talk(verb, parts) })
	}
	if err == nil {
		return nil
	}
	// What it has is not known: the next one begins with the whole of it.
	return m.explain(errors.Join(err, m.stop(ctx)))
}

// within is not held up for longer than ctx.
func within(ctx context.Context, do func() error) error {
	answer := make(chan error, 1)
	go func() { answer <- do() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// startAhead starts the process, which takes longer than to ask it.
func (m *mirror) startAhead(ctx context.Context) error {
	if err := m.start(ctx); err != nil {
		return err
	}
	m.live.ahead = true
	return nil
}

func (m *mirror) explain(err error) error {
	return &fault.Error{Class: fault.ClassOf(err), Host: m.at.on, Op: "keep a copy of the journal in " + m.at.file, Err: err}
}

func (m *mirror) start(ctx context.Context) error {
	h, err := m.dial(ctx)
	if err != nil {
		return err
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	// It lives as long as the run, also while a cancelled run closes what is open.
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &mirroring{in: inW, out: bufio.NewReader(outR), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		// The script travels on stdin, for sudo logs every argument.
		err := h.Run(runCtx, host.Cmd{Argv: []string{"sh", "-s", "--", path.Dir(m.at.file)}, As: m.at.as}, host.Stdio{In: inR, Out: outW})
		if err == nil {
			err = io.EOF
		}
		_ = outW.CloseWithError(err)
		_ = inR.CloseWithError(err)
		p.ended <- err
	}()
	m.live = p
	return nil
}

// begin sends the script, and waits for it to run: a shell that reads its script
// from stdin may read on into what follows.
func (p *mirroring) begin() error {
	if p.ready {
		return nil
	}
	if _, err := io.WriteString(p.in, "main() {\n"+mirrorScript+"}\nmain \"$@\"\nexit\n"); err != nil {
		return err
	}
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "ready\n" {
			p.ready = true
			return nil
		}
	}
}

// talk sends one request and reads its answer.
func (p *mirroring) talk(verb string, parts [][]byte) error {
	if _, err := p.in.Write(bytes.Join(append([][]byte{[]byte(verb)}, parts...), nil)); err != nil {
		return err
	}
	var said []string
	for {
		line, err := p.out.ReadString('\n')
		if err != nil && len(said) > 0 {
			return fmt.Errorf("%s: %w", host.Tail(strings.Join(said, "\n"), 3), err)
		}
		if err != nil {
			return err
		}
		switch line = strings.TrimSuffix(line, "\n"); line {
		case "ok":
			return nil
		case "failed":
			return errors.New(host.Tail(strings.Join(said, "\n"), 3))
		}
		said = append(said, line)
	}
}

// stop ends the process; the copy stays. A host that does not answer is not waited
// for longer than ctx.
func (m *mirror) stop(ctx context.Context) error {
	p := m.live
	if p == nil {
		return nil
	}
	m.live = nil
	_ = p.in.Close()
	p.cancel()
	select {
	case err := <-p.ended:
		if !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("the copy of the journal: %w", err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
