package cli

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary serve as pgrepctl itself in the scripts: a
// process of its own has a working directory and an environment of its own, so
// that scripts run in parallel.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pgrepctl": func() { os.Exit(Main(os.Args[1:])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"within": within,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
			e.Setenv("NO_COLOR", "1")
			// Neither an agent nor a configuration of the machine may take part.
			e.Setenv("SSH_AUTH_SOCK", "")
			return nil
		},
	})
}

// exits is "exits CODE program args…": exec, with the exit code that must come.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// within is "within DURATION exits CODE program args…".
func within(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 || args[1] != "exits" {
		ts.Fatalf("usage: within DURATION exits CODE program args...")
	}
	most, err := time.ParseDuration(args[0])
	ts.Check(err)
	start := time.Now()
	exits(ts, false, args[2:])
	if took := time.Since(start); took > most {
		ts.Fatalf("took %s, more than %s", took, most)
	}
}
