package remote

import "testing"

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	tl := newTail(10)
	for range 100 {
		_, _ = tl.Write([]byte("abc"))
	}
	_, _ = tl.Write([]byte("END"))
	if got := tl.String(); got != "cabcabcEND" {
		t.Errorf("got %q", got)
	}
	_, _ = tl.Write([]byte("0123456789abcdef"))
	if got := tl.String(); got != "6789abcdef" {
		t.Errorf("got %q", got)
	}
}

func TestPromptIsTakenOutOfStderrHoweverItIsCut(t *testing.T) {
	t.Parallel()
	const prompt = "PW-x:"
	for cut := range len("before" + prompt + "after") {
		text := "before" + prompt + "after"
		sink := newTail(100)
		w := newPromptWatch(prompt, sink)
		_, _ = w.Write([]byte(text[:cut]))
		_, _ = w.Write([]byte(text[cut:]))
		w.disarm()
		_, _ = w.Write([]byte(prompt))
		if got := sink.String(); got != "beforeafter"+prompt {
			t.Errorf("cut at %d: got %q", cut, got)
		}
		if len(w.asked) != 1 {
			t.Errorf("cut at %d: asked %d times", cut, len(w.asked))
		}
	}
}

func TestSudoRefusalIsToldFromTheCommandsOwnFailure(t *testing.T) {
	t.Parallel()
	for said, wants := range map[string]bool{
		"sudo: a password is required\n":                                             true,
		"sudo: interactive authentication is required\n":                             true,
		"sudo: sorry, you must have a tty to run sudo\n":                             false,
		"Sorry, user deploy is not allowed to execute '/bin/ls' as root on pg1.\n":   false,
		"deploy is not in the sudoers file.\n":                                       false,
		"sudo: unknown user postgrs\nsudo: error initializing audit plugin sudoers_": false,
		"/bin/sh: 1: exec: sudo: not found\n":                                        false,
	} {
		got := sudoRefusal(said)
		if got == nil || got.wantsPassword != wants {
			t.Errorf("%q: got %+v", said, got)
		}
	}
	for _, said := range []string{"", "ls: cannot access 'x'\n", "my sudo: a password is required\n"} {
		if got := sudoRefusal(said); got != nil {
			t.Errorf("%q: got %+v", said, got)
		}
	}
}
