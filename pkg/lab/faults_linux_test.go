package lab

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func TestPeersOfAHostWithoutPowerHearNothing(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	conn, err := l.DialContext(t.Context(), "tcp", "h1:22")
	do(t, err)
	defer conn.Close()
	r := bufio.NewReader(conn)
	_, err = r.ReadString('\n')
	do(t, err)
	do(t, l.Kill(t.Context(), "h1"))
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection said %v, want silence", err)
	}
}

func TestCutCableFailsInTimeAndHeals(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	do(t, l.Cut(t.Context(), "h1"))
	began := time.Now()
	if _, err := l.DialContext(t.Context(), "tcp", "h1:22"); err == nil {
		t.Error("a host without cable answers")
	}
	if took := time.Since(began); took > DialTimeout+time.Second {
		t.Errorf("dial took %s", took)
	}
	if got := in(t, l, "h1", "hostname"); got != "h1" {
		t.Errorf("exec without cable: %q", got)
	}
	// The cable stays cut when the host is switched off and on.
	do(t, l.Kill(t.Context(), "h1"))
	do(t, l.Start(t.Context(), "h1"))
	status, err := l.Status(t.Context())
	do(t, err)
	if status[0].Cable != "cut" || status[0].Power != "on" {
		t.Errorf("status %+v", status[0])
	}
	if _, err := l.DialContext(t.Context(), "tcp", "h1:22"); err == nil {
		t.Error("switching a host on healed its cable")
	}
	do(t, l.Heal(t.Context(), "h1"))
	conn, err := l.DialContext(t.Context(), "tcp", "h1:22")
	do(t, err)
	conn.Close()
}

func TestFrozenHostAcceptsAndHangs(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	do(t, l.Freeze(t.Context(), "h1"))
	conn, err := l.DialContext(t.Context(), "tcp", "10.77.0.11:22")
	do(t, err)
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen host sent %d bytes: %v", n, err)
	}
	status, err := l.Status(t.Context())
	do(t, err)
	if status[0].Power != "frozen" {
		t.Errorf("status %+v", status[0])
	}
	do(t, l.Thaw(t.Context(), "h1"))
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "SSH-2.0-") {
		t.Errorf("after thaw: %q %v", line, err)
	}
}

func TestPartedHostsReachOnlyTheOthers(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 3})
	reaches := func(from, to string) bool {
		_, err := l.Exec(t.Context(), from, []string{"timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/" + to + "/22"}, "")
		return err == nil
	}
	do(t, l.Part(t.Context(), "h1", "h3"))
	do(t, l.Part(t.Context(), "h2", "h3"))
	do(t, l.Part(t.Context(), "h3", "h2"))
	want := []bool{false, false, false, true, true}
	got := []bool{reaches("h1", "h3"), reaches("h3", "h1"), reaches("h2", "h3"), reaches("h1", "h2"), reaches("h2", "h1")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, h := range l.Hosts() {
		conn, err := l.DialContext(t.Context(), "tcp", h.Name+":22")
		do(t, err)
		conn.Close()
	}
	status, err := l.Status(t.Context())
	do(t, err)
	if diff := cmp.Diff([][]string{{"h3"}, {"h3"}, {"h1", "h2"}}, [][]string{status[0].Parted, status[1].Parted, status[2].Parted}); diff != "" {
		t.Error(diff)
	}
	do(t, l.Join(t.Context()))
	do(t, l.Join(t.Context()))
	if !reaches("h1", "h3") || !reaches("h3", "h2") {
		t.Error("still parted")
	}
	if err := l.Part(t.Context(), "h1", "h1"); fault.ClassOf(err) != fault.Usage {
		t.Errorf("part from itself: %v", err)
	}
}

func TestSlowHostSendsAndReceivesSlowly(t *testing.T) {
	t.Parallel()
	l := up(t, Options{Hosts: 1})
	c, err := login(t, l, "h1", "admin")
	do(t, err)
	do(t, l.Slow(t.Context(), "h1", "1mbit"))
	const size = 250_000 // 2 s at 1 Mbit/s, less what the bucket and socket buffers hold
	send := func() time.Duration {
		s, err := c.NewSession()
		do(t, err)
		defer s.Close()
		s.Stdin = bytes.NewReader(make([]byte, size))
		began := time.Now()
		out, err := s.Output("wc -c")
		do(t, err)
		if got := strings.TrimSpace(string(out)); got != strconv.Itoa(size) {
			t.Fatalf("%s bytes arrived", got)
		}
		return time.Since(began)
	}
	receive := func() time.Duration {
		began := time.Now()
		if got := remote(t, c, "head -c "+strconv.Itoa(size)+" /dev/zero"); len(got) != size {
			t.Fatalf("%d bytes came", len(got))
		}
		return time.Since(began)
	}
	if took := send(); took < time.Second {
		t.Errorf("sent in %s", took)
	}
	if took := receive(); took < time.Second {
		t.Errorf("received in %s", took)
	}
	do(t, l.Slow(t.Context(), "h1", ""))
	if took := send() + receive(); took > time.Second {
		t.Errorf("at full speed it took %s", took)
	}
	if err := l.Slow(t.Context(), "h1", "much"); err == nil {
		t.Error("a rate that is none was taken")
	}
}
