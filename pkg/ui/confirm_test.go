package ui

import (
	"bytes"
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
		err := Confirm(strings.NewReader(answer), &out, true, false, "apply 3 effects on 2 hosts?")
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
	err := Confirm(in, out, false, false, "apply?")
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
		if err := Confirm(iotest.ErrReader(io.ErrUnexpectedEOF), &out, interactive, true, "apply?"); err != nil || out.Len() != 0 {
			t.Errorf("%v, %q", err, out.String())
		}
	}
}

func TestTwoQuestionsReadTwoLines(t *testing.T) {
	t.Parallel()
	in := strings.NewReader("yes\nyes\n")
	if err := Confirm(in, io.Discard, true, false, "a?"); err != nil {
		t.Error(err)
	}
	if err := Confirm(in, io.Discard, true, false, "b?"); err != nil {
		t.Error(err)
	}
}

func TestBrokenTerminalIsNoConsent(t *testing.T) {
	t.Parallel()
	if err := Confirm(iotest.ErrReader(io.ErrUnexpectedEOF), io.Discard, true, false, "a?"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if err := Confirm(strings.NewReader("yes\n"), &broken{}, true, false, "a?"); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
