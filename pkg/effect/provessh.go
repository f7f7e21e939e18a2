package effect

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ProveSSH shows, before anything is stopped or overwritten for a copy, that the ssh of the
// host reaches the sshd that it is to copy from, knows it by its key, and can agree with it on
// how to speak. It offers no key, for the one of the copy is not made yet: to be turned away
// for that is the proof.
type ProveSSH struct {
	Host string `json:"host"`
	As   string `json:"as"`
	To   string `json:"to"`
	// Argv is ssh with its options, but for the known hosts and the address.
	Argv    []string `json:"argv"`
	Address string   `json:"address"`
	// KnownHost is a line of known_hosts; it lies in Dir, on a memory file system, meanwhile.
	KnownHost string `json:"known_host"`
	Dir       string `json:"dir"`
}

func (e *ProveSSH) Kind() string    { return "prove-ssh" }
func (e *ProveSSH) On() string      { return e.Host }
func (e *ProveSSH) Inverse() Effect { return nil }
func (e *ProveSSH) Predict(World)   {}

// Inert: no step asks for anything that it changes.
func (e *ProveSSH) Inert() bool { return true }

func (e *ProveSSH) Describe() Description {
	return Description{Verb: "reach", Subject: "the sshd of " + e.To + " from here", Detail: "(the copy goes through it)"}
}

// ssh says "Permission denied (publickey)." in English always.
const proveSSHScript = `known=$(mktemp "$1/pgrepctl-known.XXXXXX") || exit 1
trap 'rm -f "$known"' EXIT
trap 'exit 1' HUP INT TERM
printf '%s\n' "$2" >"$known"
address=$3
shift 3
said=$("$@" -o UserKnownHostsFile="$known" -o PreferredAuthentications=none -- "$address" true 2>&1 </dev/null)
code=$?
case $said in *"Permission denied ("*) exit 0 ;; esac
printf '%s\n' "$said" >&2
exit $code`

func (e *ProveSSH) Do(ctx context.Context, env Env) (Output, error) {
	h, err := env.Host(ctx, e.Host)
	if err != nil {
		return nil, err
	}
	argv := append([]string{"sh", "-c", proveSSHScript, "pgrepctl-reach", e.Dir, e.KnownHost, e.Address}, e.Argv...)
	err = h.Run(ctx, host.Cmd{Argv: argv, As: e.As, Leash: true}, host.Stdio{})
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return nil, err
	}
	return nil, &fault.Error{Class: fault.Refused, Host: e.Host, Op: "reach the sshd of " + e.To, Err: untouched{fmt.Errorf("ssh ended with %d: %s", exit.Code, host.Tail(exit.Stderr, 1))},
		State: "nothing was stopped or overwritten", Hint: "let " + e.Host + " reach " + e.Address + " by SSH; or copy through this machine: copy: relay in the inventory"}
}
