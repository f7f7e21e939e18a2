package remote

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

const (
	maxLeashInput = 64 << 20
	// leaseBeat is how often the holder of a leash says that it is there, and
	// leaseTTL how many seconds of silence end the process: the connection of
	// a client that lost its power is not closed by anybody for hours.
	leaseBeat = 5 * time.Second
	leaseTTL  = 25
)

//go:embed leash.sh
var leashScript string

// leash ties a remote process to our end of its stdin. The first bytes there
// are the command's input, all that follow are beats, and the end of the
// stream (or of the beats) is the end of the command.
type leash struct {
	input []byte
	beat  time.Duration
	ttl   int
}

func newLeash(in io.Reader) (*leash, error) {
	l := &leash{beat: leaseBeat, ttl: leaseTTL}
	if in == nil {
		return l, nil
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(in, maxLeashInput+1))
	if err != nil {
		return nil, fmt.Errorf("read input: %w", err)
	}
	if n > maxLeashInput {
		return nil, errors.New("read input: more than 64 MiB for a leashed command")
	}
	l.input = b.Bytes()
	return l, nil
}

func (l *leash) wrap(argv []string) []string {
	head := []string{"/bin/sh", "-c", leashScript, "pgrepctl-leash", strconv.Itoa(len(l.input)), strconv.Itoa(l.ttl)}
	return append(head, argv...)
}

// hold sends the input, then beats until p has ended.
func (l *leash) hold(p *process, w io.Writer) {
	if _, err := w.Write(l.input); err != nil {
		return
	}
	beat := time.NewTicker(l.beat)
	defer beat.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-beat.C:
			if _, err := io.WriteString(w, "\n"); err != nil {
				return
			}
		}
	}
}
