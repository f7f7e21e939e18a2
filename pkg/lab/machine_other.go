//go:build !linux

package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

func supported() error {
	return &fault.Error{Class: fault.Refused, Err: errors.New("a lab needs Linux: its hosts are made of namespaces and overlayfs"), Hint: "run it on a Linux machine or in a virtual machine"}
}

// Nothing below is reached: every way to a Lab goes through supported.

func mayRootless() bool { return false }

type machine struct{}

func (l *Lab) startMachine(context.Context) (*machine, error) { return nil, supported() }
func (m *machine) stands() error                              { return supported() }
func (m *machine) abandon()                                   {}
func (l *Lab) pid1() (int, error)                             { return 0, supported() }
func (l *Lab) machineScript() string                          { return "" }

func (l *Lab) enter(context.Context, ...string) (*exec.Cmd, error) { return nil, supported() }

func (l *Lab) dial(context.Context, string, string) (net.Conn, error) { return nil, supported() }

func planCgroup(string) (string, error)          { return "", supported() }
func removeCgroup(context.Context, string) error { return supported() }

func lock(string) (func(), error) { return nil, supported() }

func kill(context.Context, string) error { return supported() }

func endWithParent(cmd *exec.Cmd) *exec.Cmd { return cmd }

func newSocketPair() ([2]int, error) { return [2]int{}, supported() }

func lockWait(context.Context, string) (func(), error) { return nil, supported() }

func signalOf(*os.ProcessState) string { return "" }
