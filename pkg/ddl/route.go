package ddl

import (
	"errors"
	"fmt"
	"strings"
)

// Part is what is run at once: statements that follow each other and share a transaction,
// or one that can be in none.
type Part struct {
	Statements []Statement
	Class      Class // the heaviest
	Why        string
	Alone      bool // it can be in no transaction
}

// Parts cuts a script into what is run at once.
func (s *Script) Parts() []Part {
	var out []Part
	for _, st := range s.Statements {
		if n := len(out); n == 0 || !st.Transactional || out[n-1].Alone {
			out = append(out, Part{Alone: !st.Transactional, Why: st.Why})
		}
		p := &out[len(out)-1]
		if p.Statements = append(p.Statements, st); st.Class > p.Class {
			p.Class, p.Why = st.Class, st.Why
		}
	}
	return out
}

// Texts are the statements of a part.
func (p Part) Texts() []string {
	out := make([]string, len(p.Statements))
	for i, st := range p.Statements {
		out[i] = st.Text
	}
	return out
}

// Mode is how a part reaches the standbys.
type Mode string

// The modes, from the lightest to the heaviest.
const (
	Auto       Mode = "auto"
	Directly   Mode = "none"        // it just runs: no reader of a standby can notice it
	Gate       Mode = "gate"        // all standbys are paused, and replay in an instant without a reader
	Roll       Mode = "roll"        // some replay without readers, while the others are paused and serve
	ViaPrimary Mode = "via-primary" // the one that serves is paused, and the primary serves while it replays
)

// Modes are the words of the flag.
func Modes() []Mode { return []Mode{Auto, Directly, Gate, Roll, ViaPrimary} }

// Pool is where reads go.
type Pool struct {
	// Serving are the standbys that a balancer sends reads to.
	Serving []string
	// Others are those of which no balancer knows, and that do not replay late on purpose.
	Others []string
	// Balancers: one of the inventory knows the standbys.
	Balancers bool
	// NoPrimary is why a balancer would not send reads to the primary; "" if all would.
	NoPrimary string
	// First is how many replay first; 0 is half of them, rounded up.
	First int
	// Least is how many must serve at any time; 0 is 1.
	Least int
}

// Route is the mode of a part, and who does what in it.
type Route struct {
	Mode          Mode
	Why           string
	First, Second []string
	// OneByOne: those of Second replay it one after the other, for First are too few to
	// serve alone.
	OneByOne bool
}

// Choose finds the mode of a part. wish is Auto, or what the user wants.
func Choose(p Part, wish Mode, pool Pool) (Route, error) {
	switch {
	case p.Class == Refuse:
		return Route{}, fmt.Errorf("it cannot be rolled out: %s", p.Why)
	case p.Alone && p.Class > New:
		return Route{}, fmt.Errorf("it locks what is read, and can be in no transaction: %s", p.Why)
	case p.Alone && wish != Auto && wish != Directly:
		return Route{}, errors.New("it can be in no transaction, so that no standby can be paused for it: mode none")
	case p.Alone:
		return Route{Mode: Directly, Why: "it can be in no transaction, and no new read waits for it: " + p.Why}, nil
	case wish == Directly && p.Class != None:
		return Route{}, fmt.Errorf("its replay locks out readers: %s", p.Why)
	case wish == Directly, wish == Auto && p.Class == None:
		return Route{Mode: Directly, Why: p.Why}, nil
	}
	if wish == Auto {
		wish = pool.fitting()
	}
	switch wish {
	case Gate:
		return gate(p, pool)
	case ViaPrimary:
		return viaPrimary(p, pool)
	default:
		return roll(p, pool)
	}
}

func (pool Pool) fitting() Mode {
	switch {
	case len(pool.Serving) > 1:
		return Roll
	case len(pool.Serving) == 1 && pool.NoPrimary == "":
		return ViaPrimary
	}
	return Gate
}

func gate(p Part, pool Pool) (Route, error) {
	if p.Class == Rewrite {
		return Route{}, fmt.Errorf("in mode gate readers would wait for as long as a table is written anew: %s", p.Why)
	}
	r := Route{Mode: Gate, Second: append(append([]string{}, pool.Serving...), pool.Others...)}
	switch {
	case len(r.Second) == 0:
		r.Why = "no standby serves"
	case !pool.Balancers:
		r.Why = "no balancer of the inventory knows the standbys"
	default:
		r.Why = "too few servers serve to take one out: " + strings.Join(pool.Serving, ", ")
	}
	return r, nil
}

func roll(p Part, pool Pool) (Route, error) {
	n := len(pool.Serving)
	if n < 2 {
		return Route{}, fmt.Errorf("mode roll needs two standbys that serve, and %d do", n)
	}
	least := max(pool.Least, 1)
	if n <= least {
		return Route{}, fmt.Errorf("%d standbys serve, and without one of them at least %d must (--min-serving)", n, least)
	}
	first := pool.First
	if first == 0 {
		first = min((n+1)/2, n-least)
	}
	switch {
	case first >= n:
		return Route{}, fmt.Errorf("%d of %d standbys cannot be without readers at a time: one has to serve", first, n)
	case n-first < least:
		return Route{}, fmt.Errorf("%d of %d standbys cannot be without readers at a time: at least %d have to serve (--min-serving)", first, n, least)
	}
	return Route{Mode: Roll, Why: p.Why, First: pool.Serving[:first], Second: pool.Serving[first:], OneByOne: first < least}, nil
}

func viaPrimary(p Part, pool Pool) (Route, error) {
	if pool.NoPrimary != "" {
		return Route{}, fmt.Errorf("mode via-primary needs the primary as a server of the balancer: %s", pool.NoPrimary)
	}
	if pool.Least > 1 {
		return Route{}, fmt.Errorf("in mode via-primary the primary serves alone for a while, and at least %d servers must at any time (--min-serving)", pool.Least)
	}
	return Route{Mode: ViaPrimary, Why: p.Why, Second: pool.Serving}, nil
}
