package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/shell"
)

// maxNoise is how much a login shell may write before the command starts.
const maxNoise = 1 << 20

// Buffers of a session, in bytes. Each waits for as long as the session is open, of
// which there are three for each host that is read.
const (
	outBuffer = 8 << 10
	errBuffer = 512
)

// process is a command on the host, started, with stdout just after the mark.
type process struct {
	conn    *Conn
	cmd     host.Cmd
	via     elevation
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  *io.PipeReader
	stderr  *tail
	prompt  *promptWatch

	started bool   // the mark was seen
	pid     string // of the command on the host, or of its sudo

	// ended is closed when the session has ended and its output is read, or
	// when it was given up: sshd does not confirm a close before the process
	// has ended, which may be never. err is set before.
	ended chan struct{}
	once  sync.Once
	err   error
}

// end closes ended. A session that is given up also ends its readers here.
func (p *process) end(err error) {
	p.once.Do(func() {
		p.err = err
		close(p.ended)
	})
}

// start runs c.Argv as e.user. What the login shell writes (.bashrc, banners)
// is skipped by a mark that our own shell writes; sudo's dialog is done.
// errOut gets a copy of stderr and may be nil.
func (c *Conn) start(ctx context.Context, e elevation, cmd host.Cmd, argv []string, errOut io.Writer) (*process, error) {
	return c.startIn(ctx, c.room, e, cmd, argv, errOut)
}

// startIn is start, in a session of the connection that room finds.
func (c *Conn) startIn(ctx context.Context, room func(context.Context) (*Conn, func(), error), e elevation, cmd host.Cmd, argv []string, errOut io.Writer) (*process, error) {
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
	c, release, err := room(ctx)
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
			if err := p.begin(ctx, mark, pw); err == nil {
				p.stop(ctx) // it had begun before anybody looked at the context
			}
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
	const env = "cd /; LC_ALL=C; export LC_ALL; "
	const say = `printf '%s %s\n' `
	var before string
	switch {
	case e.user == "":
		before = say + mark + " $$; "
	case !e.password:
		// The command itself stands after sudo, so that sudoers can name it.
		before, argv = say+mark+" $$; ", append([]string{"sudo", "-n", "-u", e.user, "--"}, argv...)
	default:
		inner := say + `"$0" $$; exec "$@"`
		sudo := []string{"sudo", "-k", "-S", "-p", promptFor(mark), "-u", e.user, "--", "/bin/sh", "-c", inner, mark}
		argv = append(sudo, argv...)
	}
	line, err := shell.Quote(argv...)
	if err != nil {
		return "", fmt.Errorf("quote the command: %w", err)
	}
	return "exec /bin/sh -c " + shell.Login(before+env+"exec "+line), nil
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
	reader, writer := io.Pipe()
	p.session, p.stdin, p.stdout = session, stdin, reader
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
		_, err := io.CopyBuffer(writer, stdout, make([]byte, outBuffer))
		_ = writer.CloseWithError(err) // nil is io.EOF
		_, _ = io.Copy(io.Discard, stdout)
	})
	reading.Go(func() {
		if _, err := io.CopyBuffer(sink, stderr, make([]byte, errBuffer)); err != nil {
			// The writer failed, not the command; let it go on.
			_, _ = io.Copy(io.Discard, stderr)
		}
	})
	go func() {
		err := session.Wait()
		reading.Wait()
		_ = session.Close()
		release()
		p.end(err)
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
	var pid string
	found := make(chan error, 1)
	go func() {
		err := skipPast(p.stdout, mark+" ")
		if err == nil {
			pid = readLine(p.stdout)
		}
		found <- err
	}()
	var asked <-chan struct{}
	if p.prompt != nil {
		asked = p.prompt.asked
	}
	for prompts := 0; ; {
		select {
		case <-ctx.Done():
			// The command may run already, and is ended by its pid.
			select {
			case err := <-found:
				if err == nil {
					p.pid = pid
				}
			case <-time.After(closeGrace):
			}
			p.stop(ctx)
			return fmt.Errorf("start command: %w", context.Cause(ctx))
		case <-asked:
			if prompts++; prompts > 1 {
				p.giveUp()
				return &fault.Error{
					Class: fault.Auth, Host: p.conn.Name(), Op: "become " + p.via.user,
					Err: errors.New("sudo did not accept the password"), Hint: "check ssh.become_password",
				}
			}
			if _, err := io.WriteString(p.stdin, pw.Reveal()+"\n"); err != nil {
				p.giveUp()
				return p.conn.lostError(err)
			}
		case err := <-found:
			if err == nil {
				p.started, p.pid = true, pid
				if p.prompt != nil {
					p.prompt.disarm()
				}
				return nil
			}
			if !errors.Is(err, io.EOF) {
				p.giveUp()
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
