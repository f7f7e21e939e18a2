package ui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Ask asks question on out and reads the answer from in; only "yes" is one. yes answers
// beforehand. Where nobody can be asked (not interactive) and when the answer is another, the
// error is a *fault.Error of class Refused: consent is never assumed.
//
// Whoever interrupts has answered, whatever he types besides: the error is why ctx has ended.
// A read of a terminal cannot be ended, so the one that is begun then stays behind, and takes
// the next line.
func Ask(ctx context.Context, in io.Reader, out io.Writer, interactive, yes bool, question string) error {
	const want = "yes"
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if yes {
		return nil
	}
	if !interactive {
		return fault.Refuse("", "add --yes", errors.New("not confirmed: there is no terminal to ask on"))
	}
	if _, err := fmt.Fprintf(out, "%s\ntype %q to go on: ", clean(question), want); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	var answer string
	read := make(chan error, 1)
	go func() {
		var err error
		answer, err = readLine(in)
		read <- err
	}()
	var err error
	select {
	case err = <-read:
	case <-ctx.Done():
	}
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		// The user's Enter moves the cursor; Ctrl-C and Ctrl-D do not.
		fmt.Fprintln(out)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read answer: %w", err)
	case strings.TrimSpace(answer) != want:
		return fault.Refuse("", fmt.Sprintf("nothing was done; answer %q, or add --yes", want), errors.New("not confirmed"))
	}
	return nil
}

// readLine reads byte by byte: what follows the line is the next question's.
func readLine(in io.Reader) (string, error) {
	var line []byte
	buf := make([]byte, 1)
	for len(line) < 4096 {
		n, err := in.Read(buf)
		if n > 0 {
			if buf[0] == '\n' {
				return string(line), nil
			}
			line = append(line, buf[0])
		}
		if err != nil {
			return string(line), err
		}
	}
	return string(line), nil
}
