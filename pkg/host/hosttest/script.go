package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// Call is one thing that is expected to be asked of a host, and the answer.
type Call struct {
	// Do is "run ARGV…", "connect", "exec SQL", "query SQL", "close" or
	// "login"; a "…" at its end stands for the rest.
	Do string
	// Out is the output of a command, or the rows of a query as a JSON list.
	Out string
	Err error
	// Then runs before the answer is given.
	Then func()
}

// Script is a host that is asked for exactly the calls given, in their order.
type Script struct {
	*FS
	T    testing.TB
	name string
	mu   sync.Mutex
	want []Call
	// Lose ends every session's life.
	Lose chan struct{}
}

var _ host.Host = (*Script)(nil)

// NewScript returns the host name. At the test's end all calls must have come.
func NewScript(t testing.TB, name string, tree *FS, calls ...Call) *Script {
	t.Helper()
	s := &Script{FS: tree, T: t, name: name, want: calls, Lose: make(chan struct{})}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.want {
			t.Errorf("%s was never asked: %s", name, c.Do)
		}
	})
	return s
}

func (s *Script) next(do string) (Call, error) {
	s.mu.Lock()
	if len(s.want) == 0 || !matches(s.want[0].Do, do) {
		expected := "nothing more"
		if len(s.want) > 0 {
			expected = s.want[0].Do
		}
		s.mu.Unlock()
		s.T.Errorf("%s was asked: %s\nexpected: %s", s.name, do, expected)
		return Call{}, fmt.Errorf("%s: unexpected call: %s", s.name, do)
	}
	c := s.want[0]
	s.want = s.want[1:]
	s.mu.Unlock()
	if c.Then != nil {
		c.Then()
	}
	return c, nil
}

func matches(want, got string) bool {
	if begin, ok := strings.CutSuffix(want, "…"); ok {
		return strings.HasPrefix(got, begin)
	}
	return want == got
}

// Expect adds calls.
func (s *Script) Expect(calls ...Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = append(s.want, calls...)
}

func (s *Script) Name() string    { return s.name }
func (s *Script) HostKey() string { return "ssh-ed25519 AAAA" + s.name }
func (s *Script) User() string    { return "deploy" }

func (s *Script) Run(_ context.Context, c host.Cmd, stdio host.Stdio) error {
	do := "run " + c.String()
	if c.As != "" {
		do += " as " + c.As
	}
	call, err := s.next(do)
	if err != nil {
		return err
	}
	if stdio.Out != nil {
		if _, err := io.WriteString(stdio.Out, call.Out); err != nil {
			return err
		}
	}
	if exit, ok := call.Err.(*host.ExitError); ok {
		exit.Cmd, exit.Host = c, s.name
	}
	return call.Err
}

func (s *Script) SQL(_ context.Context, db host.Database) (host.SQL, error) {
	do := "connect"
	if db.Own {
		do = "connect own"
	}
	c, err := s.next(do)
	if err != nil {
		return nil, err
	}
	if c.Err != nil {
		return nil, c.Err
	}
	return &session{s}, nil
}

func (s *Script) ReplicationLogin(_ context.Context, l host.Login) (host.System, error) {
	do := fmt.Sprintf("login %s@%s:%d", l.User, l.Address, l.Port)
	if l.Slot != "" {
		do += " slot " + l.Slot
	}
	c, err := s.next(do)
	if err != nil {
		return host.System{}, err
	}
	if c.Err != nil {
		return host.System{}, c.Err
	}
	return host.System{ID: c.Out}, nil
}

type session struct{ s *Script }

func (q *session) Exec(_ context.Context, sql string) error {
	c, err := q.s.next("exec " + flat(sql))
	if err != nil {
		return err
	}
	return c.Err
}

func (q *session) Query(_ context.Context, dst any, sql string, args ...any) error {
	do := "query " + flat(sql)
	if len(args) > 0 {
		do += fmt.Sprint(" ", args)
	}
	c, err := q.s.next(do)
	if err != nil {
		return err
	}
	if c.Err != nil {
		return c.Err
	}
	if c.Out == "" {
		c.Out = "[]"
	}
	return json.Unmarshal([]byte(c.Out), dst)
}

func (q *session) Lost() <-chan struct{} { return q.s.Lose }

func (q *session) Close(context.Context) error {
	c, err := q.s.next("close")
	if err != nil {
		return err
	}
	return c.Err
}

func flat(sql string) string { return strings.Join(strings.Fields(sql), " ") }
