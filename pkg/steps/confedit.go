package steps

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// put gives a setting its value, in the file where it takes effect. What ALTER SYSTEM
// has set wins over that, and is taken back.
func (c *config) put(name string, want Wanted) error {
	if _, ok := c.auto.Get(name); ok {
		c.auto.Unset(name)
		c.unset = append(c.unset, name)
		if ok, err := c.holds(name, want); ok || err != nil {
			return err
		}
	}
	if _, err := c.tree.Set(name, want.Value); err != nil {
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

// edits are the files that put has changed: set says to what.
func (c *config) edits(in In, h *facts.Host, set []string) []effect.Effect {
	var out []effect.Effect
	for _, src := range c.tree.Files() {
		before := c.before[src.Path]
		if bytes.Equal(before.Data, src.Data) {
			continue
		}
		e := in.edit(h, in.Self, before, src.Data)
		e.Why = "(" + strings.Join(set, ", ") + ")"
		out = append(out, e)
	}
	if len(c.unset) > 0 {
		e := in.edit(h, in.Self, c.autoWas, c.auto.Bytes())
		e.Why = "(without " + strings.Join(c.unset, ", ") + ", which ALTER SYSTEM has set)"
		e.Sensitive = e.Sensitive || sensitive(c.autoWas.Data)
		out = append(out, e)
	}
	return out
}
