package remotetest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// session serves one exec request as sshd does: a process group of its own,
// pipes, and no kill when the client goes away. left is called before the
// client learns of the end, for it may open the next session at once.
func (s *Server) session(new ssh.NewChannel, left func()) {
	ch, requests, err := new.Accept()
	if err != nil {
		return
	}
	defer func() { _ = ch.Close() }()
	var (
		running sync.WaitGroup
		cmd     *exec.Cmd
		ended   = make(chan struct{})
	)
	defer running.Wait()
	for {
		select {
		case <-ended:
			return
		case r, ok := <-requests:
			if !ok {
				return
			}
			switch r.Type {
			case "exec":
				var arg struct{ Command string }
				if cmd != nil || ssh.Unmarshal(r.Payload, &arg) != nil {
					_ = r.Reply(false, nil)
					continue
				}
				cmd = s.command(arg.Command)
				finish, err := s.start(cmd, ch, left)
				_ = r.Reply(err == nil, nil)
				if err != nil {
					return
				}
				running.Go(func() {
					finish()
					close(ended)
				})
			case "signal":
				var arg struct{ Name string }
				if cmd != nil && ssh.Unmarshal(r.Payload, &arg) == nil {
					signalGroup(cmd, arg.Name)
				}
			default:
				_ = r.Reply(false, nil)
			}
		}
	}
}

func (s *Server) command(line string) *exec.Cmd {
	shell := s.config.Shell
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell, "-c", line)
	cmd.Env = append(os.Environ(), s.env()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// start connects pipes by hand: os/exec would wait for a stdin that the client
// keeps open.
func (s *Server) start(cmd *exec.Cmd, ch ssh.Channel, left func()) (finish func(), _ error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errOut, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	flood := s.faults.Stderr
	s.running[cmd] = []io.Closer{out, errOut}
	s.mu.Unlock()
	var reading, feeding sync.WaitGroup
	reading.Go(func() {
		_, _ = io.WriteString(ch, s.config.Noise)
		_, _ = io.Copy(ch, out)
	})
	reading.Go(func() {
		_, _ = io.WriteString(ch.Stderr(), strings.Repeat("x", flood))
		_, _ = io.Copy(ch.Stderr(), errOut)
	})
	feeding.Go(func() {
		_, _ = io.Copy(in, ch)
		_ = in.Close()
	})
	return func() {
		reading.Wait()
		err := cmd.Wait()
		s.mu.Lock()
		delete(s.running, cmd)
		s.mu.Unlock()
		reportExit(ch, err)
		left()
		_ = ch.Close()
		feeding.Wait()
	}, nil
}

func reportExit(ch ssh.Channel, err error) {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal     string
				CoreDumped bool
				Error      string
				Lang       string
			}{Signal: signalName(status.Signal())}))
			return
		}
	}
	code := 0
	if exit != nil {
		code = exit.ExitCode()
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
}

func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "PIPE": syscall.SIGPIPE,
	}
}

func signalName(sig syscall.Signal) string {
	for name, s := range signals() {
		if s == sig {
			return name
		}
	}
	return strconv.Itoa(int(sig))
}

func signalGroup(cmd *exec.Cmd, name string) {
	if sig, ok := signals()[name]; ok && cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, sig)
	}
}

// forward serves a jump host's channel.
func (s *Server) forward(new ssh.NewChannel) {
	var arg struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}
	if err := ssh.Unmarshal(new.ExtraData(), &arg); err != nil {
		_ = new.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	to, err := net.Dial("tcp", net.JoinHostPort(arg.Host, strconv.Itoa(int(arg.Port))))
	if err != nil {
		_ = new.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	ch, requests, err := new.Accept()
	if err != nil {
		_ = to.Close()
		return
	}
	s.mu.Lock()
	s.forwards++
	s.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { ssh.DiscardRequests(requests) })
	both.Go(func() {
		_, _ = io.Copy(to, ch)
		_ = to.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(ch, to)
		_ = ch.Close()
	})
	both.Wait()
}
