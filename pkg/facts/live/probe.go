package live

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// maxProbe is far above what the scripts print; a host that prints more is not
// answering us.
const maxProbe = 1 << 20

// errNoFrame is an answer without our marks: something else printed it, or the
// script did not come to its end.
var errNoFrame = errors.New("answer is cut off or not ours")

// record is what a script printed: key=value, each ended by NUL, so that values
// may hold anything that a path can.
type record struct {
	values map[string][]string
	before string // what was printed before it
}

func (r record) get(key string) string {
	if v := r.values[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (r record) has(key string) bool { return len(r.values[key]) > 0 }

// probe runs a script of ours with sh. It travels on stdin: sudo logs argv, and
// a script of a page in every log line helps nobody. The nonce tells our lines
// from what profile files and banners print.
func probe(ctx context.Context, r host.Runner, as, script string, args ...string) (record, error) {
	nonce := rand.Text()
	out := &limited{max: maxProbe}
	argv := append([]string{"sh", "-s", "--", nonce}, args...)
	err := r.Run(ctx, host.Cmd{Argv: argv, As: as}, host.Stdio{In: strings.NewReader(script), Out: out})
	if err != nil {
		return record{}, err
	}
	if out.over {
		return record{}, fmt.Errorf("answer is longer than %d bytes", maxProbe)
	}
	return parseRecord(out.buf.Bytes(), nonce)
}

func parseRecord(b []byte, nonce string) (record, error) {
	before, b, ok := bytes.Cut(b, []byte("\x00begin:"+nonce+"\x00"))
	if !ok {
		return record{}, errNoFrame
	}
	body, _, ok := bytes.Cut(b, []byte("end:"+nonce+"\x00"))
	if !ok {
		return record{}, errNoFrame
	}
	rec := record{values: map[string][]string{}, before: string(before)}
	for _, item := range strings.Split(string(body), "\x00") {
		if key, value, ok := strings.Cut(item, "="); ok {
			rec.values[key] = append(rec.values[key], value)
		}
	}
	return rec, nil
}

// limited keeps the first max bytes and takes the rest without keeping it.
type limited struct {
	buf  bytes.Buffer
	max  int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	n := len(p)
	if room := l.max - l.buf.Len(); len(p) > room {
		l.over = true
		p = p[:room]
	}
	l.buf.Write(p)
	return n, nil
}

// findProgram is a function of scripts, without a process of its own.
const findProgram = `# program NAME: where the PATH has it, in found.
program() {
	found=
	set -f
	IFS=:
	for p in $PATH; do
		[ -f "$p/$1" ] && [ -x "$p/$1" ] && found=$p/$1 && break
	done
	unset IFS
	set +f
	[ -n "$found" ]
}
`
