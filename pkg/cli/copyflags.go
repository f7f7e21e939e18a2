package cli

import (
	"fmt"
	"maps"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// copying is from where, and how, the user wants a copy to go over the link.
type copying struct{ from, streams, compress, limit, commits, checkpoint string }

// flags are those of every command that copies.
func (c *copying) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "upstream", "copy from this `HOST` of the cluster, a standby too (9.6 and later); it streams from its upstream all the same")
	f.StringVar(&c.streams, "streams", "inventory", "copy with this `NUMBER` of rsync processes at a time, 1 to 4; auto is one for each core of the smaller end")
	f.StringVar(&c.compress, "compress", "inventory", "`MODE` of the copy: auto compresses by zstd, and tries a stream without it in a long copy; zstd; none")
	f.StringVar(&c.limit, "bwlimit", "inventory", "copy at most this `RATE` a second, of all streams together, with kB, MB or GB, such as 50MB; none")
	f.StringVar(&c.commits, "commit-limit", "inventory", "slow the copy down while a commit on the upstream takes longer than this `TIME`, such as 20ms; auto is twice as long as before the copy; none")
	f.StringVar(&c.checkpoint, "checkpoint", "fast", "`HOW` the backup begins: fast has the source write at once all that it has in memory; spread takes as long as its own checkpoints, minutes, and is not felt")
}

// known refuses a source that the inventory does not have, before the plan does, which
// would name a line of its own.
func (c *copying) known(inv *inventory.Cluster) error {
	if c.from == "upstream" || c.from == "primary" {
		return nil
	}
	_, err := hostNamed(inv, c.from)
	return err
}

// check refuses what a flag cannot mean, before the plan does, which would name its own
// lines, and each as often as it has the value.
func (c *copying) check(cmd *cobra.Command) error {
	for _, v := range []interface{ Validate() error }{
		&steps.CopyKey{Streams: c.streams}, &steps.CopyKey{Compress: c.compress}, &steps.CopyKey{BWLimit: c.limit}, &steps.CopyKey{CommitLimit: c.commits},
		&steps.Backup{Label: "pgrepctl", Checkpoint: c.checkpoint},
	} {
		if err := v.Validate(); err != nil {
			return usage(cmd, fmt.Errorf("--%w", err)) // which begins with the name that the flag has, too
		}
	}
	return nil
}

// vars adds them to the variables of a plan.
func (c *copying) vars(vars map[string]string) map[string]string {
	maps.Copy(vars, map[string]string{"from": c.from, "streams": c.streams, "compress": c.compress, "bwlimit": c.limit, "commit-limit": c.commits, "checkpoint": c.checkpoint})
	return vars
}
