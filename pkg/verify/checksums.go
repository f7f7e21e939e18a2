package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// checksums reads every page of a standby whose server is stopped. It stops none
// by itself: somebody may be reading there.
func (r *run) checksums(ctx context.Context) error {
	f, name := r.Standby.Facts, r.Standby.Name
	if f.Data.State != facts.Cluster {
		return fault.Refuse(name, "pgrepctl status", fmt.Errorf("%s is no data directory of a server (%s)", f.Data.Path, f.Data.State))
	}
	v, err := postgres.ParseVersion(f.Data.Version)
	if err != nil {
		return fmt.Errorf("version of %s on %s: %w", f.Data.Path, name, err)
	}
	program := v.ChecksumProgram()
	switch {
	case f.Data.Control.DataChecksumVersion == 0:
		// First, so that nobody stops a server in vain.
		return fault.Refuse(name, "pgrepctl standby verify "+name+" --level hashes compares the rows instead", errors.New("its data checksums are off, so no page has one to verify"))
	case len(program) == 0:
		r.add(Check{Name: "checksums", Result: NotPossible, Detail: "the data are of " + v.Major() + ", and no program before 11 verifies checksums"})
		return nil
	case f.Server.Running || f.Server.NotReady != "" || f.Data.PID != 0:
		return fault.Refuse(name, "stop it first, on "+name+": "+r.Stop, errors.New("its server runs: pages that it writes meanwhile would look damaged"))
	case !f.Data.Control.State.Clean():
		return fault.Refuse(name, "start its server, and stop it without -m immediate, on "+name+": "+r.Stop, fmt.Errorf("its server was not shut down cleanly (%s): torn pages that recovery mends would look damaged", f.Data.Control.State))
	}
	h, err := r.hosts.Host(ctx, name)
	if err != nil {
		return err
	}
	c, err := checkPages(ctx, h, f, program)
	if err != nil {
		return err
	}
	c.Name = "checksums"
	r.add(c)
	return nil
}

var counted = regexp.MustCompile(`(?m)^(?:Files scanned|Blocks scanned|Bad checksums): .*$`)

func checkPages(ctx context.Context, h host.Host, f *facts.Host, program []string) (Check, error) {
	as := f.Machine.OSUser
	argv := append([]string{"env", "LC_ALL=C", path.Join(f.Machine.BinDirectory, program[0])}, program[1:]...)
	var out head
	err := h.Run(ctx, host.Cmd{Argv: append(argv, "-D", f.Data.Path), As: as, Leash: true}, host.Stdio{Out: &out})
	found := oneLine(strings.Join(counted.FindAllString(out.String(), -1), "\n"), 3)
	var exit *host.ExitError
	switch {
	case err == nil:
		return Check{Result: OK, Detail: found}, nil
	case !errors.As(err, &exit):
		return Check{}, fmt.Errorf("run %s on %s: %w", program[0], f.Name, err)
	case exit.Code == 127:
		return Check{Result: NotPossible, Detail: "there is no " + argv[2], Hint: "install the server's package of " + f.Name + " that has it"}, nil
	}
	// A clean shutdown leaves none.
	switch _, err := h.Files(as).Stat(ctx, path.Join(f.Data.Path, "postmaster.pid")); {
	case err == nil:
		return Check{Result: NotPossible, Detail: "the server was started meanwhile"}, nil
	case !errors.Is(err, fs.ErrNotExist):
		return Check{}, fmt.Errorf("look whether the server of %s was started: %w", f.Name, err)
	}
	said := found
	if first := oneLine(exit.Stderr, 2); first != "" {
		said = strings.TrimPrefix(said+"; "+first, "; ")
	}
	return Check{Result: Failed, Detail: said, Hint: anew(f.Name)}, nil
}
