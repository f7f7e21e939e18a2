package engine

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// openBrackets are the nodes that were opened and never closed, in order.
func openBrackets(recs []journal.Record) []string {
	var open []string
	for _, rec := range recs {
		switch rec.Type {
		case journal.Open:
			open = append(open, rec.Node)
		case journal.Close:
			open = slices.DeleteFunc(open, func(n string) bool { return n == rec.Node })
		}
	}
	return open
}

// leftOpen is what brackets answer for that nobody took back: what their opening did, and
// of their bodies what they keep, which may be owed after their end, too: what could not be
// taken back yet. What is of an inner one comes last, as that is closed first.
func leftOpen(recs []journal.Record) ([]owed, error) {
	all, err := owedInverses(recs)
	if err != nil {
		return nil, err
	}
	open := openBrackets(recs)
	of := func(o owed) int { return slices.Index(open, cmp.Or(o.bracket, o.node)) }
	all = slices.DeleteFunc(all, func(o owed) bool { return o.inverse == nil || of(o) < 0 && o.bracket == "" })
	slices.SortStableFunc(all, func(a, b owed) int { return of(a) - of(b) })
	return all, nil
}

// pastReturn reports whether an act is done that cannot be taken back.
func pastReturn(recs []journal.Record) bool {
	noReturn := map[int]bool{}
	for _, r := range recs {
		if r.Type == journal.Intent && r.NoReturn != "" {
			noReturn[r.Seq] = true
		}
		if r.Type == journal.Done && noReturn[r.Of] {
			return true
		}
	}
	return false
}

// owed is an act that was begun and not taken back.
type owed struct {
	done
	node, host, step, text string
	bracket                string // that answers for it
	noReturn               string
	finished               bool
	// claims: what cannot be taken back counts from its intent on, done or half
	// done: data that are being erased, a promotion.
	claims bool
	// unknown: a restart of which nobody knows whether it happened, for the tool died.
	// It counts, too; one that failed does not.
	unknown bool
}

func owedInverses(recs []journal.Record) ([]owed, error) {
	byIntent := map[int]*owed{}
	var order []int
	for _, rec := range recs {
		switch rec.Type {
		case journal.Intent:
			o := &owed{done: done{seq: rec.Seq, claim: rec.Claim}, node: rec.Node, host: rec.Host, bracket: rec.Bracket, step: rec.Step, text: rec.Text, noReturn: rec.NoReturn, claims: rec.Claim != "", unknown: rec.Effect == "service"}
			if rec.Inverse != nil {
				inv, err := effect.Decode(rec.Inverse)
				if err != nil {
					return nil, foreign(recs[0].Run, fmt.Errorf("%q on %s: %w", rec.Text, rec.Host, err))
				}
				o.inverse = inv
			}
			byIntent[rec.Seq] = o
			order = append(order, rec.Seq)
		case journal.Done:
			o := byIntent[rec.Of]
			o.finished = true
			if o.noReturn != "" && o.inverse != nil { // which was of an act whose end is not known
				_, restart := o.inverse.(*effect.Service) // an undo goes back to that, as ever
				o.inverse, o.claims = nil, o.claims || !restart
			}
		case journal.Undone:
			delete(byIntent, rec.Of)
		case journal.Failed:
			if rec.Untouched {
				delete(byIntent, rec.Of)
			} else if o, ok := byIntent[rec.Of]; ok {
				o.unknown = false
			}
		}
	}
	var out []owed
	for _, seq := range order {
		if o := byIntent[seq]; o != nil && o.unknown && o.noReturn != "" {
			o.inverse = nil
		}
		if o, ok := byIntent[seq]; ok && (o.inverse != nil || o.noReturn != "" && (o.finished || o.claims || o.unknown)) {
			out = append(out, *o)
		}
	}
	return out, nil
}

// backward is the order in which acts are taken back: last first, but for the start of a server
// that its files had kept from starting.
func backward(list []owed) []owed {
	out := make([]owed, 0, len(list))
	var last []owed
	for _, o := range slices.Backward(list) {
		switch s, ok := o.inverse.(*effect.Service); {
		case ok && s.Last:
			last = append(last, o)
			continue
		case o.inverse == nil: // no further back than to here
			out, last = append(out, last...), nil
		}
		out = append(out, o)
	}
	return append(out, last...)
}
