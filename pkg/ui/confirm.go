package ui

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Confirm asks question on out and reads the answer from in; only "yes" is
// one. yes answers beforehand. Where nobody can be asked (not interactive) and
// when the answer is another, the error is a *fault.Error of class Refused:
// consent is never assumed.
func Confirm(in io.Reader, out io.Writer, interactive, yes bool, question string) error {
	const want = "yes"
	if yes {
		return nil
	}
	if !interactive {
		return fault.Refuse("", "add --yes", errors.New("not confirmed: there is no terminal to ask on"))
	}
	if _, err := fmt.Fprintf(out, "%s\ntype %q to go on: ", clean(question), want); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer, err := readLine(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read answer: %w", err)
	}
	if errors.Is(err, io.EOF) {
		// The user's Enter moves the cursor; Ctrl-D does not.
		fmt.Fprintln(out)
	}
	if strings.TrimSpace(answer) != want {
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
