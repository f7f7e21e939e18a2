package ui

import (
	"io"

	"golang.org/x/term"
)

// Mode is how progress is shown. It is chosen once a call.
type Mode string

const (
	ModeLive  Mode = "live"  // one redrawn line a busy host, finished lines above
	ModePlain Mode = "plain" // one line an event
	ModeJSON  Mode = "json"  // one JSON object an event
)

// Options is what the choice of a Mode depends on.
type Options struct {
	Stderr any                 // where progress goes; a terminal if it has Fd and is one
	Env    func(string) string // TERM, CI
	Plain  bool                // --plain
	Output string              // --output
}

// Choose returns ModeJSON with the output form json; ModeLive on a terminal that can
// move its cursor, unless plain is asked for or the environment says that
// nobody watches (CI); else ModePlain.
func Choose(o Options) Mode {
	switch {
	case o.Output == "json":
		return ModeJSON
	case o.Plain, !IsTerminal(o.Stderr), dumb(o.Env), o.Env("CI") != "":
		return ModePlain
	default:
		return ModeLive
	}
}

// A terminal without TERM, as cron and old init systems leave it, is as dumb
// as one that says so.
func dumb(env func(string) string) bool {
	name := env("TERM")
	return name == "" || name == "dumb"
}

type descriptor interface{ Fd() uintptr }

// IsTerminal reports whether f is a file that is a terminal.
func IsTerminal(f any) bool {
	d, ok := f.(descriptor)
	return ok && term.IsTerminal(int(d.Fd()))
}

// SizeOf returns a function that asks the terminal w for its size each time,
// so that a resized window is drawn right at the next redraw. For anything but
// a terminal it answers 80 by 24.
func SizeOf(w io.Writer) func() (width, height int) {
	return func() (int, int) {
		if d, ok := w.(descriptor); ok {
			if width, height, err := term.GetSize(int(d.Fd())); err == nil && width > 0 && height > 0 {
				return width, height
			}
		}
		return 80, 24
	}
}

// UseColor decides for one stream. when is auto, always or never (--color);
// auto obeys NO_COLOR (https://no-color.org: not empty), then CLICOLOR_FORCE
// (https://bixense.com/clicolors: set and not 0), then asks whether the stream
// is a terminal that is not dumb.
func UseColor(when string, env func(string) string, stream any) bool {
	switch when {
	case "always":
		return true
	case "never":
		return false
	}
	if env("NO_COLOR") != "" {
		return false
	}
	if force := env("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return IsTerminal(stream) && !dumb(env)
}
