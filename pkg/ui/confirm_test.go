package ui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func TestOnlyYesIsConsent(t *testing.T) {
	t.Parallel()
	for answer, ok := range map[string]bool{
		"yes\n": true, " yes \r\n": true, "yes": true, "y\n": false, "YES\n": false, "\n": false, "": false, "no\n": false,
		"yes, do\n": false, "no\nyes\n": false, strings.Repeat("x", 10000): false,
	} {
		var out bytes.Buffer
		err := Ask(t.Context(), strings.NewReader(answer), &out, true, false, "apply 3 effects on 2 hosts?")
		if (err == nil) != ok {
			t.Errorf("%.20q: %v", answer, err)
		}
		if err != nil && fault.ClassOf(err) != fault.Refused {
			t.Errorf("%.20q: class %d", answer, fault.ClassOf(err))
		}
		if !strings.HasPrefix(out.String(), "apply 3 effects on 2 hosts?\ntype \"yes\" to go on: ") {
			t.Errorf("%q", out.String())
		}
	}
}

func TestNobodyToAskIsNeverConsent(t *testing.T) {
	t.Parallel()
	in, out := strings.NewReader("yes\n"), &bytes.Buffer{}
	err := Ask(t.Context(), in, out, false, false, "apply?")
	var f *fault.Error
	if !errors.As(err, &f) || f.Class != fault.Refused || f.Hint != "add --yes" {
		t.Errorf("%#v", err)
	}
	if in.Len() != 4 || out.Len() != 0 {
		t.Error("asked all the same")
	}
}

func TestConsentGivenBeforehandAsksNothing(t *testing.T) {
	t.Parallel()
	for _, interactive := range []bool{true, false} {
		var out bytes.Buffer
		if err := Ask(t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF), &out, interactive, true, "apply?"); err != nil || out.Len() != 0 {
			t.Errorf("%v, %q", err, out.String())
		}
	}
}

func TestTwoQuestionsReadTwoLines(t *testing.T) {
	t.Parallel()
	in := strings.NewReader("yes\nyes\n")
	if err := Ask(t.Context(), in, io.Discard, true, false, "a?"); err != nil {
		t.Error(err)
	}
	if err := Ask(t.Context(), in, io.Discard, true, false, "b?"); err != nil {
		t.Error(err)
	}
}

func TestBrokenTerminalIsNoConsent(t *testing.T) {
	t.Parallel()
	if err := Ask(t.Context(), iotest.ErrReader(io.ErrUnexpectedEOF), io.Discard, true, false, "a?"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if err := Ask(t.Context(), strings.NewReader("yes\n"), &broken{}, true, false, "a?"); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}

// TestAnInterruptAnswersTheQuestion: nobody types anything, or "yes" after it.
func TestAnInterruptAnswersTheQuestion(t *testing.T) {
	t.Parallel()
	interrupted := &fault.Error{Class: fault.Interrupted, Err: errors.New("interrupted")}
	for name, typed := range map[string]string{"nothing is typed": "", "the answer comes after it": "yes\n"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		in, keys := io.Pipe()
		// Pressed once the question is read: it is asked before anything is.
		var out bytes.Buffer
		pressed := make(chan struct{})
		go func() {
			<-pressed
			cancel(interrupted)
			_, _ = io.WriteString(keys, typed)
		}()
		err := Ask(ctx, &reading{in, pressed}, &out, true, false, "a?")
		if !errors.Is(err, interrupted) {
			t.Errorf("%s: %v", name, err)
		}
		if got := out.String(); !strings.HasSuffix(got, "go on: \n") {
			t.Errorf("%s: the cursor is left behind %q", name, got)
		}
		_ = in.Close()
	}
}

// reading tells of its first read.
type reading struct {
	io.Reader
	begun chan struct{}
}

func (r *reading) Read(b []byte) (int, error) {
	if r.begun != nil {
		close(r.begun)
		r.begun = nil
	}
	return r.Reader.Read(b)
}

// TestWhoHasInterruptedIsNotAsked: nor is what he said beforehand his last word.
func TestWhoHasInterruptedIsNotAsked(t *testing.T) {
	t.Parallel()
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	for _, yes := range []bool{false, true} {
		in, out := strings.NewReader("yes\n"), &bytes.Buffer{}
		if err := Ask(ctx, in, out, true, yes, "a?"); !errors.Is(err, why) || in.Len() != 4 || out.Len() != 0 {
			t.Errorf("--yes %t: %v, asked %q", yes, err, out)
		}
	}
}
