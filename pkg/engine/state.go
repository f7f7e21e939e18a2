package engine

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
	"github.com/pgrepctl/pgrepctl/pkg/steps"
)

// state is what a run knows of itself. It implements steps.Run, for a preview
// and an apply alike.
type state struct {
	e       *Engine
	id      string
	outputs map[string]string
	notes   map[string]string // of acts that did not come to their end, too
	claims  map[string]bool
	accept  []string // by the run that is resumed
	changed map[string]bool
	owed    map[string][]steps.Settle
	keys    map[string]steps.Key
}

var _ steps.Run = (*state)(nil)

func (e *Engine) newState(id string) *state {
	return &state{e: e, id: id, outputs: map[string]string{}, notes: map[string]string{}, claims: map[string]bool{}, changed: map[string]bool{},
		owed: map[string][]steps.Settle{}, keys: map[string]steps.Key{}}
}

// replay rebuilds the state of an interrupted run from its journal.
func (s *state) replay(recs []journal.Record) {
	kinds := map[int]journal.Record{}
	claims := map[int]string{}
	for _, r := range recs {
		switch r.Type {
		case journal.Start:
			s.accept = r.Run.Accept
		case journal.Intent:
			kinds[r.Seq] = r
			if r.Claim != "" {
				claims[r.Seq] = r.Claim // begun counts: it may have happened
			}
		case journal.Undone:
			delete(claims, r.Of)
		case journal.Failed:
			if r.Untouched {
				delete(claims, r.Of)
			}
		case journal.Done:
			maps.Copy(s.outputs, r.Output)
			of := kinds[r.Of]
			if !of.Locks() {
				s.changed[of.Host] = true
			}
			if of.Effect == "reload" || of.Effect == "service" {
				delete(s.owed, of.Host)
			}
		case journal.Undoing:
			clear(s.outputs)
			clear(s.changed)
		case journal.Note:
			s.take(r)
		case journal.Settle:
			s.owe([]steps.Settle{{Host: r.Host, Why: r.Text, Restart: r.Effect == "restart"}})
		}
	}
	for _, claim := range claims {
		s.claims[claim] = true
	}
}

func (s *state) ID() string       { return s.id }
func (s *state) Operator() string { return s.e.Operator }

// Ended is asked of the journals of this machine.
func (s *state) Ended(id string) bool {
	runs, err := journal.List(s.e.Dir)
	return err == nil && slices.ContainsFunc(runs, func(r journal.Summary) bool { return r.ID == id && r.Over() })
}

func (s *state) Output(key string) (string, bool) {
	if v, ok := s.outputs[key]; ok {
		return v, true
	}
	v, ok := s.notes[key]
	return v, ok
}

// take remembers a note. It stands also while the run is taken back: it tells what has
// happened on a server.
func (s *state) take(r journal.Record) { maps.Copy(s.notes, r.Output) }

func (s *state) Claimed(claim string) bool                          { return s.claims[claim] }
func (s *state) Changed(name string) bool                           { return s.changed[name] }
func (s *state) Owed(name string) []steps.Settle                    { return s.owed[name] }
func (s *state) Accepted() []string                                 { return slices.Concat(s.e.Accept, s.accept) }
func (s *state) Password(ctx context.Context) (secret.Value, error) { return s.e.Password(ctx) }

func (s *state) CopyKey(n int) (steps.Key, error) { return s.key(strconv.Itoa(n)) }

func (s *state) key(n string) (steps.Key, error) {
	if k, ok := s.keys[n]; ok {
		return k, nil
	}
	k, err := s.e.NewKey()
	if err != nil {
		return steps.Key{}, err
	}
	s.keys[n] = k
	return k, nil
}

// note records that an effect happened, or is predicted to happen.
func (s *state) note(e effect.Effect) {
	switch e.(type) {
	case *effect.TakeLock, *effect.ReleaseLock:
		return
	}
	s.changed[e.On()] = true
	if c, ok := e.(effect.Claimer); ok && c.Claim() != "" {
		s.claims[c.Claim()] = true
	}
	switch e.(type) {
	case *effect.Reload, *effect.Service:
		delete(s.owed, e.On())
	}
}

func (s *state) owe(list []steps.Settle) {
	for _, x := range list {
		if !slices.Contains(s.owed[x.Host], x) {
			s.owed[x.Host] = append(s.owed[x.Host], x)
		}
	}
}
