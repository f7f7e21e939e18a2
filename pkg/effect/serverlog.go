package effect

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// LogOffset is the key of an output: how long a server's log was before the run
// started the server.
func LogOffset(name string) string { return "log.offset." + name }

// logOffset notes it; none when there is no log that can be looked at.
func (e *Service) logOffset(ctx context.Context, h host.Host) Output {
	if e.Control.Log == "" || e.Action == "stop" || e.Action == "await" {
		return nil
	}
	entry, err := h.Files(e.Control.LogAs).Stat(ctx, e.Control.Log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && !entry.Mode.IsRegular() {
		return nil
	}
	return Output{LogOffset(e.Host): strconv.FormatInt(entry.Size, 10)}
}

// ownWords are the severe lines that the server has logged since its start; else
// the last lines, whatever they say.
func (e *Service) ownWords(ctx context.Context, h host.Host, noted Output) (string, error) {
	if lines := severeLines(ctx, h, e.Control.LogAs, e.Control.Log, noted[LogOffset(e.Host)]); len(lines) > 0 {
		return host.Tail(strings.Join(lines, "\n"), 5), nil
	}
	out, err := host.Output(ctx, h, host.Cmd{Argv: []string{"tail", "-n", "8", e.Control.Log}, As: e.Control.LogAs})
	return string(out), err
}

// logWindow bounds what is read of a log: a server that tries again for ever
// writes much, and the same.
const logWindow = "262144"

// severe is a line of severity FATAL or PANIC, behind any log_line_prefix. What it
// says is for the reader and decides nothing.
var severe = regexp.MustCompile(`(?m)^.*\b(?:FATAL|PANIC):  .*$`)

// severeLines are those that a server has written to its log since offset.
func severeLines(ctx context.Context, r host.Runner, as, log, offset string) []string {
	from, err := strconv.ParseInt(offset, 10, 64)
	if err != nil || log == "" {
		return nil
	}
	const cut = `tail -c "+$1" -- "$2" | tail -c "$3"`
	argv := []string{"sh", "-c", cut, "sh", strconv.FormatInt(from+1, 10), log, logWindow}
	out, err := host.Output(ctx, r, host.Cmd{Argv: argv, As: as})
	if err != nil {
		return nil // it is an addition to what is known otherwise
	}
	lines := severe.FindAllString(string(out), -1)
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, "\r")
	}
	return lines
}
