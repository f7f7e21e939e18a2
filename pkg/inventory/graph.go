package inventory

import (
	"fmt"
	"strings"
)

// Graph draws the replication tree, one host a line, each below its upstream
// and indented by two more columns, in file order.
func (c *Cluster) Graph() string {
	var b strings.Builder
	fmt.Fprintln(&b, c.Name)
	if p := c.Primary(); p != nil {
		c.draw(&b, p, 1)
	}
	return b.String()
}

func (c *Cluster) draw(b *strings.Builder, h *Host, depth int) {
	fmt.Fprintf(b, "%s%s  %s %s port %d", strings.Repeat("  ", depth), h.Name, h.Role, h.Address, h.Postgres.Port)
	if h.Slot != "" {
		fmt.Fprintf(b, " slot %s", h.Slot)
	}
	if h.ApplyDelay != 0 {
		fmt.Fprintf(b, " delay %s", formatDuration(h.ApplyDelay))
	}
	if h.Synchronous {
		b.WriteString(" synchronous")
	}
	if h.Traffic != "" {
		fmt.Fprintf(b, " traffic %s", h.Traffic)
	}
	fmt.Fprintln(b)
	for _, d := range c.Downstreams(h) {
		c.draw(b, d, depth+1)
	}
}
