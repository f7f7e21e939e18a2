package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// reseeding is what the user asked for.
type reseeding struct {
	host  string
	force bool
	wipe  bool
	keep  bool
	last  bool
	how   copying
}

func (a *app) reseedCommand() *cobra.Command {
	var r reseeding
	cmd := &cobra.Command{
		Use:   "reseed HOST",
		Short: "Seed a standby again from its upstream, with only what differs",
		Long: `Bring a standby that cannot go on back, over the data that it has: because its slot
has lost its WAL, because the WAL that it needs is gone, because it was promoted and
has a history of its own, or because its data are damaged. Why is said first. Without a
reason it is refused: see --force. It is refused, too, for a server that takes writes,
for data of another system, and for a directory that cannot be proved to be ours.

Reads are drained, the server is stopped, its data are fenced, and every file is compared
with its upstream's by content, page by page, under a new backup: only what differs comes
over the wire. Size and time of a file are not trusted. Its configuration, its log and
the files of its TLS stay. Then it is started, and proved to stream.

Up to the copy, "pgrepctl runs undo" brings the standby back as it was. From its first
block on the old state is gone: a copy that breaks goes on with "pgrepctl runs resume",
from what is there. With --keep-old the old data are renamed and stay until you remove
them, which needs room for both; with --wipe they are erased first.`,
		Example: `  pgrepctl standby reseed pg2 --dry-run
  pgrepctl standby reseed pg2
  pgrepctl standby reseed pg2 --force
  pgrepctl standby reseed pg2 --keep-old`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.host = args[0]
			return a.reseed(cmd, r)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&r.force, "force", false, "also when nothing says that it is needed, or others stream from it")
	f.BoolVar(&r.wipe, "wipe", false, "erase its data first, and copy all of them")
	f.BoolVar(&r.keep, "keep-old", false, "rename its data instead of overwriting them, and copy all of them")
	f.BoolVar(&r.last, "last", false, "drain it also when no other server would serve reads")
	r.how.flags(cmd)
	a.actFlags(cmd)
	return cmd
}

func (a *app) reseed(cmd *cobra.Command, r reseeding) error {
	if r.wipe && r.keep {
		return usage(cmd, errors.New("--wipe and --keep-old: give one of them"))
	}
	if err := r.how.check(cmd); err != nil {
		return err
	}
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(cmd.Context())
	h, err := standbyNamed(s.inv, r.host)
	if err != nil {
		return err
	}
	if err := r.how.known(s.inv); err != nil {
		return err
	}
	p, err := a.builtinPlan(s.inv, "reseed-standby", r.vars())
	if err != nil {
		return err
	}
	pre, err := s.Preview(cmd.Context(), p)
	if err != nil {
		return err
	}
	rep, err := a.applied(cmd.Context(), s, p, pre)
	if err != nil || rep == nil || a.set.Quiet() {
		return err
	}
	for _, line := range r.next(h, rep) {
		fmt.Fprintln(a.Err, a.withInventory(line))
	}
	return nil
}

func (r reseeding) vars() map[string]string {
	v := r.how.vars(map[string]string{"standby": r.host, "old": "overwritten", "force": fmt.Sprint(r.force), "if-last": "refuse"})
	switch {
	case r.wipe:
		v["old"] = "erased"
	case r.keep:
		v["old"] = "kept"
	}
	if r.last {
		v["if-last"] = "drain"
	}
	return v
}

// next is how to get rid of what was kept, and how to go back to it.
func (r reseeding) next(h *inventory.Host, rep *engine.Report) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(rep.Outputs)) {
		if strings.HasPrefix(key, effect.KeptAs) {
			out = append(out, fmt.Sprintf("next, on %s, when nobody needs the old data: sudo -u %s rm -rf %s", h.Name, h.Postgres.OSUser, rep.Outputs[key]))
		}
	}
	if len(out) > 0 {
		out = append([]string{"the old data are kept; until they are removed, this puts them back: pgrepctl runs undo " + rep.Run}, out...)
	}
	return out
}
