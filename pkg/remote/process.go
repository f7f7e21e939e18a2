package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// maxNoise is how much a login shell may write before the command starts.
const maxNoise = 1 << 20

// process is a command on the host, started, with stdout just after the mark.
type process struct {
	conn    *Conn
	cmd     host.Cmd
	via     elevation
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  *tail
	prompt  *promptWatch

	started bool          // the mark was seen
	ended   chan struct{} // the session is closed and stderr is read
	err     error         // of the session; set before ended is closed
}

// start runs c.Argv as e.user. What the login shell writes (.bashrc, banners)
// is skipped by a mark that our own shell writes; sudo's dialog is done.
// errOut gets a copy of stderr and may be nil.
func (c *Conn) start(ctx context.Context, e elevation, cmd host.Cmd, argv []string, errOut io.Writer) (*process, error) {
	if len(cmd.Argv) == 0 {
		return nil, errors.New("empty command")
	}
	var pw secret.Value
	if e.password {
		var err error
		if pw, err = c.password(ctx); err != nil {
			return nil, err
		}
	}
	mark := nonce()
	line, err := commandLine(e, argv, mark)
	if err != nil {
		return nil, err
	}
	release, err := c.slot(ctx)
	if err != nil {
		return nil, err
	}
	p := &process{conn: c, cmd: cmd, via: e, stderr: newTail(maxStderr), ended: make(chan struct{})}
	opened := make(chan error, 1)
	go func() {
		// Opening a session waits for the server, without a context.
		opened <- p.open(line, mark, e, errOut, release)
	}()
	select {
	case err := <-opened:
		if err != nil {
			release()
			return nil, c.openError(err)
		}
	case <-ctx.Done():
		go func() {
			if err := <-opened; err != nil {
				release()
				return
			}
			p.stop(0)
		}()
		return nil, fmt.Errorf("open session: %w", context.Cause(ctx))
	}
	if err := p.begin(ctx, mark, pw); err != nil {
		return nil, err
	}
	return p, nil
}

// commandLine builds what the login shell is given. cd: the login user's home
// is often closed to the database's OS user, and every tool would complain.
func commandLine(e elevation, argv []string, mark string) (string, error) {
	for _, w := range argv {
		if strings.ContainsRune(w, 0) {
			return "", errNUL
		}
	}
	const env = "cd /; LC_ALL=C; export LC_ALL; "
	say := "printf '%s\\n' " + quote(mark) + "; "
	var script string
	switch {
	case e.user == "":
		script = say + env + "exec " + quoteAll(argv)
	case !e.password:
		// The command itself stands after sudo, so that sudoers can name it.
		script = say + env + "exec " + quoteAll(append([]string{"sudo", "-n", "-u", e.user, "--"}, argv...))
	default:
		inner := "printf '%s\\n' \"$0\"; exec \"$@\""
		sudo := []string{"sudo", "-k", "-S", "-p", promptFor(mark), "-u", e.user, "--", "/bin/sh", "-c", inner, mark}
		script = env + "exec " + quoteAll(append(sudo, argv...))
	}
	return "exec /bin/sh -c " + quoteLogin(script), nil
}

func promptFor(mark string) string { return "PW-" + mark + ":" }

// open makes the session and starts the collectors. They end with the session.
func (p *process) open(line, mark string, e elevation, errOut io.Writer, release func()) error {
	session, err := p.conn.client.NewSession()
	if err != nil {
		return err
	}
	stdin, err1 := session.StdinPipe()
	stdout, err2 := session.StdoutPipe()
	stderr, err3 := session.StderrPipe()
	if err := errors.Join(err1, err2, err3, session.Start(line)); err != nil {
		return errors.Join(err, ignoreEOF(session.Close()))
	}
	p.session, p.stdin, p.stdout = session, stdin, stdout
	sink := io.Writer(p.stderr)
	if errOut != nil {
		sink = io.MultiWriter(p.stderr, errOut)
	}
	if e.password {
		p.prompt = newPromptWatch(promptFor(mark), sink)
		sink = p.prompt
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		if _, err := io.Copy(sink, stderr); err != nil {
			// The writer failed, not the command; let it go on.
			_, _ = io.Copy(io.Discard, stderr)
		}
	})
	go func() {
		err := session.Wait()
		reading.Wait()
		_ = session.Close()
		p.err = err
		release()
		close(p.ended)
	}()
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// begin reads up to the mark, answering sudo's prompt. On an error the process
// is stopped.
func (p *process) begin(ctx context.Context, mark string, pw secret.Value) error {
	found := make(chan error, 1)
	go func() { found <- skipPast(p.stdout, mark+"\n") }()
	var asked <-chan struct{}
	if p.prompt != nil {
		asked = p.prompt.asked
	}
	for prompts := 0; ; {
		select {
		case <-ctx.Done():
			p.stop(stopGrace)
			return fmt.Errorf("start command: %w", context.Cause(ctx))
		case <-asked:
			if prompts++; prompts > 1 {
				p.stop(0)
				return &fault.Error{
					Class: fault.Auth, Host: p.conn.Name(), Op: "become " + p.via.user,
					Err: errors.New("sudo did not accept the password"), Hint: "check ssh.become_password",
				}
			}
			if _, err := io.WriteString(p.stdin, pw.Reveal()+"\n"); err != nil {
				p.stop(0)
				return p.conn.lostError(err)
			}
		case err := <-found:
			if err == nil {
				p.started = true
				if p.prompt != nil {
					p.prompt.disarm()
				}
				return nil
			}
			if !errors.Is(err, io.EOF) {
				p.stop(0)
				return p.conn.loginShellError(p.cmd, err)
			}
			return p.result(ctx)
		}
	}
}

// skipPast reads r up to and including mark.
func skipPast(r io.Reader, mark string) error {
	// One byte at a time: what follows the mark is the command's.
	var window []byte
	one := make([]byte, 1)
	for n := 0; n < maxNoise; n++ {
		if _, err := io.ReadFull(r, one); err != nil {
			return err
		}
		window = append(window, one[0])
		if len(window) > len(mark) {
			window = window[1:]
		}
		if string(window) == mark {
			return nil
		}
	}
	return errors.New("it writes without end before the command starts")
}

// result waits for the end and classifies it. Output is complete only when it
// is nil: a cut connection looks like a clean end of stdout.
func (p *process) result(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.stop(stopGrace)
		return context.Cause(ctx)
	}
	var exit *ssh.ExitError
	switch {
	case p.err == nil && p.started:
		return nil
	case p.err == nil, errors.As(p.err, &exit):
	default:
		return p.conn.lostError(p.err)
	}
	stderr := p.stderr.String()
	if p.via.user != "" && (exit == nil || exit.ExitStatus() == 1 || exit.ExitStatus() == 127) {
		if refused := sudoRefusal(stderr); refused != nil {
			return p.conn.refusedFault(p.via.user, refused)
		}
	}
	if !p.started {
		return p.conn.loginShellError(p.cmd, errors.New(host.Tail(stderr, 1)))
	}
	return &host.ExitError{Host: p.conn.Name(), Cmd: p.cmd, Code: exit.ExitStatus(), Signal: exit.Signal(), Stderr: stderr}
}

const (
	stopGrace = 3 * time.Second
	// closeGrace is for the server's answer to a close. A link that does not
	// answer by then is dead, and keepalive ends it.
	closeGrace = 2 * time.Second
)

// stop ends the process: TERM, KILL after grace, then the session. sshd sends
// the signal as the login user, so a command behind sudo may not get it; a
// leash does not need it.
func (p *process) stop(grace time.Duration) {
	if p.cmd.Leash {
		_ = p.stdin.Close()
	}
	// Writing to a dead link can block until keepalive ends it.
	go func() { _ = p.session.Signal(ssh.SIGTERM) }()
	if p.endsWithin(grace) {
		return
	}
	go func() {
		_ = p.session.Signal(ssh.SIGKILL)
		_ = p.session.Close()
	}()
	p.endsWithin(closeGrace)
}

func (p *process) endsWithin(d time.Duration) bool {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-p.ended:
		return true
	case <-limit.C:
		return false
	}
}

// promptWatch passes stderr on, without sudo's prompt.
type promptWatch struct {
	asked chan struct{} // one value for each prompt
	mu    sync.Mutex
	mark  []byte
	held  []byte
	armed bool
	to    io.Writer
}

func newPromptWatch(prompt string, to io.Writer) *promptWatch {
	return &promptWatch{asked: make(chan struct{}, 4), mark: []byte(prompt), armed: true, to: to}
}

// disarm passes on what was held back, and everything from now on.
func (w *promptWatch) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.flush(len(w.held))
}

func (w *promptWatch) flush(n int) {
	if n > 0 {
		_, _ = w.to.Write(w.held[:n])
	}
	w.held = w.held[n:]
}

func (w *promptWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = append(w.held, p...)
	if !w.armed {
		w.flush(len(w.held))
		return len(p), nil
	}
	// sudo-rs writes "[sudo: <prompt>] Password:": the prompt is contained.
	for {
		i := bytes.Index(w.held, w.mark)
		if i < 0 {
			break
		}
		w.flush(i)
		w.held = w.held[len(w.mark):]
		select {
		case w.asked <- struct{}{}:
		default:
		}
	}
	// The end may be the beginning of a prompt.
	w.flush(len(w.held) - overlap(w.held, w.mark))
	return len(p), nil
}

// overlap is the length of the longest end of b that begins mark.
func overlap(b, mark []byte) int {
	for n := min(len(b), len(mark)-1); n > 0; n-- {
		if bytes.HasPrefix(mark, b[len(b)-n:]) {
			return n
		}
	}
	return 0
}
