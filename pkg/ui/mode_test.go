package ui

import (
	"bytes"
	"os"
	"testing"
)

// terminal opens the master side of a pseudo-terminal, which is a terminal
// itself (pty(7)).
func terminal(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestModeFollowsTheTerminalAndWhoWatches(t *testing.T) {
	t.Parallel()
	tty := terminal(t)
	var pipe bytes.Buffer
	for _, c := range []struct {
		name string
		o    Options
		want Mode
	}{
		{"a terminal", Options{Stderr: tty, Env: env("TERM", "xterm")}, ModeLive},
		{"a terminal, yaml", Options{Stderr: tty, Env: env("TERM", "xterm"), Output: "yaml"}, ModeLive},
		{"a pipe", Options{Stderr: &pipe, Env: env("TERM", "xterm")}, ModePlain},
		{"nothing", Options{Env: env("TERM", "xterm")}, ModePlain},
		{"a dumb terminal", Options{Stderr: tty, Env: env("TERM", "dumb")}, ModePlain},
		{"a terminal without a name", Options{Stderr: tty, Env: env()}, ModePlain},
		{"continuous integration", Options{Stderr: tty, Env: env("TERM", "xterm", "CI", "true")}, ModePlain},
		{"--plain", Options{Stderr: tty, Env: env("TERM", "xterm"), Plain: true}, ModePlain},
		{"json on a terminal", Options{Stderr: tty, Env: env("TERM", "xterm"), Output: "json"}, ModeJSON},
		{"json beats plain", Options{Stderr: &pipe, Env: env(), Plain: true, Output: "json"}, ModeJSON},
	} {
		if got := Choose(c.o); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestColorFollowsFlagThenNoColorThenForceThenTerminal(t *testing.T) {
	t.Parallel()
	tty := terminal(t)
	for _, c := range []struct {
		when string
		env  func(string) string
		tty  bool
		want bool
	}{
		{"always", env("NO_COLOR", "1"), false, true},
		{"never", env("CLICOLOR_FORCE", "1", "TERM", "xterm"), true, false},
		{"auto", env("TERM", "xterm"), true, true},
		{"auto", env("TERM", "xterm"), false, false},
		{"auto", env("TERM", "xterm", "NO_COLOR", "1"), true, false},
		{"auto", env("TERM", "xterm", "NO_COLOR", ""), true, true},
		{"auto", env("NO_COLOR", "1", "CLICOLOR_FORCE", "1"), true, false},
		{"auto", env("CLICOLOR_FORCE", "1"), false, true},
		{"auto", env("CLICOLOR_FORCE", "0"), false, false},
		{"auto", env("TERM", "dumb"), true, false},
		{"auto", env("TERM", "xterm", "CI", "1"), true, true},
	} {
		var stream any = &bytes.Buffer{}
		if c.tty {
			stream = tty
		}
		if got := UseColor(c.when, c.env, stream); got != c.want {
			t.Errorf("--color %s, NO_COLOR %q, CLICOLOR_FORCE %q, TERM %q, terminal %v: %v",
				c.when, c.env("NO_COLOR"), c.env("CLICOLOR_FORCE"), c.env("TERM"), c.tty, got)
		}
	}
}

func TestSizeOfAnythingButATerminalIsClassic(t *testing.T) {
	t.Parallel()
	if w, h := SizeOf(&bytes.Buffer{})(); w != 80 || h != 24 {
		t.Errorf("%dx%d", w, h)
	}
	// A new pseudo-terminal says 0 by 0 (tty_ioctl(4)).
	if w, h := SizeOf(terminal(t))(); w != 80 || h != 24 {
		t.Errorf("%dx%d", w, h)
	}
}
