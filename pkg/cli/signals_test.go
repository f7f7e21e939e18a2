package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// hanging is set for a process of the test itself that hangs whatever it is told.
const hanging = "PGREPCTL_TEST_HANGS"

func TestAThirdInterruptEndsAProcessThatHangs(t *testing.T) {
	if os.Getenv(hanging) != "" {
		ctx, stop, end := signals()
		defer end()
		fmt.Println("ready")
		<-stop
		fmt.Println("stop")
		<-ctx.Done()
		fmt.Println("drop")
		time.Sleep(time.Minute)
		return
	}
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAThirdInterruptEndsAProcessThatHangs$")
	c.Env = besides(t, hanging+"=1")
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"ready", "stop", "drop"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("it says %q, want %q", lines.Text(), want)
		}
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v", err)
	}
}
