package effect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// When a copy is on the disks of the standby, and not in its memory alone.
//
// The kernel tells of a page that it could not write once, to the next who syncs (errseq_t,
// Linux 4.13; to syncfs from 5.8 on), and takes the page for clean from then on. A second
// sync succeeds; and who compares the file reads the page in memory, and not what the disk
// has. So after a sync that failed nothing of the copy can be trusted, nor mended by
// comparing, until the standby was booted, which forgets the pages. And what was not synced
// before a boot may be gone after it, but comparing finds that.
//
// That a sync has failed is kept twice: in the run (CopyUnsynced), and by a file beside the
// data (UnsyncedMark), which the script that syncs leaves itself. The tool may have been
// killed meanwhile, for a disk that fails makes a sync hang; and another run may come. Each
// has the boot in which it was. The file needs no sync: it is for that boot only. The copy
// of the next one removes it, as it does with all that the source does not have.

const (
	// CopyBoot is the key of an output: the boot of the standby in which a complete copy
	// was made, as it was before its first byte.
	CopyBoot = "copy.boot"
	// CopySynced is the key of an output that is not empty once that copy is on its disks.
	CopySynced = "copy.synced"
	// UnsyncedMark is a file in the data directory.
	UnsyncedMark = "pgrepctl.unsynced"
	// MarkUnsynced is the command of a shell that makes it in the directory $data.
	MarkUnsynced = `{ cat /proc/sys/kernel/random/boot_id >"$data/` + UnsyncedMark + `"; } 2>/dev/null`
)

// CopyUnsynced is the key of a note: the boot of a host in which a sync of its copy failed.
func CopyUnsynced(name string) string { return "copy.unsynced." + name }

// FreshCopy says how to go on after a sync that failed.
func FreshCopy(name, run string) string {
	return "see why (dmesg on " + name + "), and mend it; then boot " + name + "; then, to compare what its disks have: pgrepctl runs resume " + run +
		"; or copy into fresh files: pgrepctl runs abandon " + run + "; then: pgrepctl standby reseed " + name + " --wipe"
}

// SyncCopy writes a copy to its disks, by a command that leaves UnsyncedMark if it cannot.
type SyncCopy struct {
	Exec
	// Boot is that of the host.
	Boot string `json:"-"`
}

// Do gives up waiting when ctx ends, and does not end the command: what the kernel has told
// it nobody else is told.
func (e *SyncCopy) Do(ctx context.Context, env Env) (Output, error) {
	ended := make(chan error, 1)
	go func() {
		_, err := e.Exec.Do(context.WithoutCancel(ctx), env)
		ended <- err
	}()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		return nil, fmt.Errorf("%s %s: %w", e.Verb, e.What, context.Cause(ctx))
	}
	var exit *host.ExitError
	switch {
	case err == nil:
		return Output{CopySynced: "yes"}, nil
	case !errors.As(err, &exit) || exit.Code == 126 || exit.Code == 127: // not known; or not begun
		return nil, err
	}
	return nil, unsynced(ctx, env, e.Host, e.Boot, &fault.Error{Err: err})
}

// noteTime bounds how long it may take to note a failure in the copy of the journal, too:
// the run may be on its way out, with the primary out of reach.
const noteTime = 10 * time.Second

// unsynced notes that a sync on a host has failed, and says what that means.
func unsynced(ctx context.Context, env Env, name, boot string, f *fault.Error) error {
	f.Class, f.Host, f.Stderr = fault.Failed, name, host.Tail(host.StderrOf(f.Err), 5)
	f.State = "the copy on " + name + " cannot start, and is not to be trusted: the kernel tells of a lost write once, and to compare files may read its page cache and not the disk, so only a fresh copy is safe"
	f.Hint = FreshCopy(name, env.Run().ID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if err := env.Note(ctx, Output{CopyUnsynced(name): boot}); err != nil {
		return errors.Join(f, err)
	}
	return f
}
