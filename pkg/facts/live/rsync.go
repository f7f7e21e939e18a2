package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// RsyncServer asks this host's rsync which command it would run on the other end
// to pull path with these flags: rsync starts a program of ours in the place of
// ssh, which prints what it was given and ends. Nothing is connected or copied.
// The words are those that the remote shell would make of it, without the quotes
// that rsync adds since 3.2.4.
//
// flags must not hold -e, -s or --secluded-args: with the latter rsync sends its
// arguments inside the stream, and the command says nothing.
//
// The same question has the same answer during a run, and is asked by a preview and
// by what follows it. Several may be asked at the same time.
func (g *Gatherer) RsyncServer(ctx context.Context, flags []string, path string) ([]string, error) {
	key := strings.Join(append(slices.Clone(flags), path), "\x00")
	g.mu.Lock()
	known, ok := g.senders[key]
	g.mu.Unlock()
	if ok {
		return slices.Clone(known), nil
	}
	words, err := g.askRsync(ctx, flags, path)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.senders == nil {
		g.senders = map[string][]string{}
	}
	g.senders[key] = words
	return slices.Clone(words), nil
}

func (g *Gatherer) askRsync(ctx context.Context, flags []string, path string) ([]string, error) {
	nonce := rand.Text()
	argv := append([]string{"rsync"}, flags...)
	argv = append(argv, "-e", rsyncShell(nonce), "--", "source:"+path, "/nonexistent/pgrepctl")
	errs := &limited{max: maxProbe}
	err := g.h.Run(ctx, host.Cmd{Argv: argv, As: g.inv.Postgres.OSUser}, host.Stdio{Err: errs})
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("ask rsync: %w", err)
	}
	stderr := errs.buf.Bytes()
	if exit != nil && !bytes.Contains(stderr, []byte(nonce)) {
		stderr = []byte(exit.Stderr)
	}
	words, perr := parseRsyncServer(stderr, nonce, path)
	if perr != nil && exit != nil {
		return nil, fmt.Errorf("ask rsync: %w: %w", perr, exit)
	}
	if perr != nil {
		return nil, fmt.Errorf("ask rsync: %w", perr)
	}
	return words, nil
}

// rsyncShell is a value for rsync -e, which is split at spaces outside quotes.
// The format is kept out of the quoted script: rsync reads two quotes in a row
// as one. stdout is rsync's protocol stream, so stderr carries the answer.
func rsyncShell(nonce string) string {
	return `sh -c 'printf "%s\0" "$@" >&2' sh ` + nonce
}

// parseRsyncServer finds, among whatever else is on stderr: nonce, host,
// "rsync", "--server", …, path. It ends at the path.
func parseRsyncServer(stderr []byte, nonce, path string) ([]string, error) {
	_, rest, ok := bytes.Cut(stderr, []byte(nonce+"\x00"))
	if !ok {
		return nil, errNoFrame
	}
	items := strings.Split(string(rest), "\x00")
	// Behind the last NUL are rsync's own words about its lost server.
	items = items[:len(items)-1]
	if len(items) < 2 || items[0] != "source" {
		return nil, errNoFrame
	}
	words, err := shellWords(strings.Join(items[1:], " "))
	if err != nil {
		return nil, err
	}
	if len(words) < 4 || words[0] != "rsync" || words[1] != "--server" || words[2] != "--sender" {
		return nil, fmt.Errorf("not a server command: %q", words)
	}
	if last := words[len(words)-1]; last != path {
		return nil, fmt.Errorf("its command names %q instead of %q: secluded arguments, or an rsync that does not quote paths", last, path)
	}
	return words, nil
}

// shellWords splits a command line as a POSIX shell would, and refuses whatever
// a shell would do more with than quoting.
func shellWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == ' ' || c == '\t':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			in = true
		case strings.IndexByte("\\'\"`$&;|<>()*?[{\n", c) >= 0, !in && (c == '~' || c == '#'):
			return nil, fmt.Errorf("a shell would interpret %q in %q", c, line)
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}
