package remote

import (
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// startScript starts a program of ours by perl at once, for to ask first whether perl has
// its modules takes as long as to run it. Without perl it goes on to a script, which knows
// the other interpreters.
const startScript = `perl=$1 script=$2
shift 2
command -v perl >/dev/null 2>&1 && exec perl -e "$perl" -- "$script" "$0" "$@"
exec /bin/sh -c "$script" "$0" "$@"`

// perlFirst is before each perl program: a perl that lacks a module (they are packages of
// their own in the Red Hat family) gives way to the script.
const perlFirst = `BEGIN { my ($script, $name, $mark, $python, @to) = @ARGV;
  eval { require strict; require warnings; require Socket; require Errno; require IO::Handle; 1 }
    or exec '/bin/sh', '-c', $script, $name, $mark, $python, @to;
  @ARGV = ($mark, @to); }
`

// interpreted runs a program that is there in perl and in python, and to some degree in a
// script, with mark and to as its arguments.
func interpreted(name, script, perl, python, mark string, to ...string) []string {
	return append([]string{"/bin/sh", "-c", startScript, name, perlFirst + perl, script, mark, python}, to...)
}

// withoutPerl is interpreted where perl is there, and cannot run: it may lack its library,
// or be forbidden to this OS user.
func withoutPerl(name, script, python, mark string, to ...string) []string {
	return append([]string{"/bin/sh", "-c", script, name, mark, python}, to...)
}

// errMute is a program of ours that ended before it said anything.
var errMute = errors.New("it ended before it said anything")

// errNoInterpreter is a host where nothing can run them.
var errNoInterpreter = errors.New("no perl, python3 or socat on the host")

// cannotRun reports whether a program ended by itself before it said anything, as one
// does whose interpreter cannot run.
func cannotRun(err error) bool {
	var exit *host.ExitError
	return errors.Is(err, errMute) || errors.As(err, &exit)
}
