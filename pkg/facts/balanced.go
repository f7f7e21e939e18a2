package facts

// BalanceState is what a balancer does with one server.
type BalanceState string

const (
	Serving    BalanceState = "serving" // it gets new sessions
	Drained    BalanceState = "drained" // it gets none: an operator, or a tool, said so
	CheckFails BalanceState = "down"    // it gets none, for its health check fails
	// Weightless: it gets none, for its weight is 0. An agent, or an operator, has set it,
	// and alone they raise it again.
	Weightless BalanceState = "weight 0"
	NotListed  BalanceState = "not listed"
)

// Balanced is a standby as one balancer sees it.
type Balanced struct {
	Backend string       `json:"backend,omitempty"` // haproxy
	Name    string       `json:"name"`
	State   BalanceState `json:"state"`
	// Admin is what was made of it, in the balancer's word, which is also how it is
	// put back: ready, drain, maint. Only HAProxy has it.
	Admin string `json:"admin,omitempty"`
	// Sessions are those that it has now; -1 when the balancer does not count.
	Sessions int `json:"sessions"`
	// Backup: it gets sessions only when no other server does.
	Backup bool `json:"backup,omitempty"`
}

// Idle reports whether it gets no new session, though nobody has drained it: it serves
// again as soon as its check, or its weight, lets it.
func (b Balanced) Idle() bool { return b.State == CheckFails || b.State == Weightless }

// Balances finds a server of a balancer.
func (h *Host) Balances(backend, name string) Balanced {
	for _, b := range h.Balanced {
		if b.Backend == backend && b.Name == name {
			return b
		}
	}
	return Balanced{Backend: backend, Name: name, State: NotListed, Sessions: -1}
}

// SetBalanced replaces what is known of a server.
func (h *Host) SetBalanced(now Balanced) {
	list := make([]Balanced, len(h.Balanced))
	copy(list, h.Balanced)
	for i := range list {
		if list[i].Backend == now.Backend && list[i].Name == now.Name {
			list[i] = now
		}
	}
	h.Balanced = list
}

// OthersServing are the names of the servers of a backend that would still serve
// without one.
func (h *Host) OthersServing(backend, without string) []string {
	var out []string
	for _, b := range h.Balanced {
		if b.Backend == backend && b.Name != without && b.State == Serving {
			out = append(out, b.Name)
		}
	}
	return out
}
