package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
)

// SavedFormat names the form of a saved plan.
const SavedFormat = "pgrepctl.saved-plan/v1"

// Saved is a preview that can be applied later: exactly what it shows, or nothing.
// It is bound to the facts that it was made from, and holds no secret.
type Saved struct {
	Format    string            `json:"format"`
	Cluster   string            `json:"cluster"`
	Inventory string            `json:"inventory_sha256"`
	Made      time.Time         `json:"made"`
	Operator  string            `json:"operator"`
	Version   string            `json:"version"` // of pgrepctl
	Plan      string            `json:"plan"`
	PlanText  string            `json:"plan_text"`
	Vars      map[string]string `json:"vars"`
	Accept    []string          `json:"accept,omitempty"`
	Lines     []Line            `json:"steps"`
	Facts     []facts.Seen      `json:"facts"`
}

// Save makes a saved plan of a preview.
func (e *Engine) Save(p *plan.Plan, pre *Preview) (*Saved, error) {
	if pre.Run != "" {
		return nil, fault.Refuse("", e.WaysOut(pre.Run), fmt.Errorf("run %s is not finished, and a saved plan goes on with none", pre.Run))
	}
	sum, err := fileSum(e.Inventory.File)
	if err != nil {
		return nil, err
	}
	return &Saved{Format: SavedFormat, Cluster: e.Inventory.Name, Inventory: sum, Made: e.Now().UTC(), Operator: e.Operator, Version: e.Version,
		Plan: p.Name, PlanText: p.Text, Vars: p.Vars, Accept: e.Accept, Lines: pre.Lines, Facts: pre.Seen}, nil
}

func fileSum(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read the inventory: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// ParseSaved reads a saved plan, strictly. path is for messages only.
func ParseSaved(path string, text []byte) (*Saved, error) {
	s := &Saved{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(s)
	if err == nil && s.Format != SavedFormat {
		err = fmt.Errorf("its format is %q, want %q", s.Format, SavedFormat)
	}
	if err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Op: "read the saved plan " + path, Err: err, Hint: "make one: pgrepctl plan --out FILE"}
	}
	return s, nil
}

const newPlan = "look at a new one: pgrepctl plan --out FILE"

// Bind loads a saved plan for this engine, which then does what it shows, and nothing
// else. It refuses one whose facts have changed, and says which.
func (e *Engine) Bind(ctx context.Context, s *Saved) (*plan.Plan, error) {
	if s.Cluster != e.Inventory.Name {
		return nil, fault.Refuse("", "give the inventory that it was made with: -i FILE", fmt.Errorf("the saved plan is of cluster %s, the inventory is of %s", s.Cluster, e.Inventory.Name))
	}
	sum, err := fileSum(e.Inventory.File)
	if err != nil {
		return nil, err
	}
	if sum != s.Inventory {
		return nil, fault.Refuse("", newPlan, fmt.Errorf("%s has changed since the plan was made", e.Inventory.File))
	}
	p, err := plan.Load(s.Plan+" (saved)", []byte(s.PlanText), e.Inventory, s.Vars)
	if err != nil {
		return nil, err
	}
	w := newWorld(e.Cluster)
	if err := w.prefetch(ctx, p.Nodes); err != nil {
		return nil, err
	}
	if err := w.asSeen(ctx, s.Facts); err != nil {
		return nil, err
	}
	e.Accept, e.Expect = s.Accept, s.Lines
	return p, nil
}

// asSeen compares each fact with what is true now.
func (w *world) asSeen(ctx context.Context, seen []facts.Seen) error {
	var errs []error
	for _, s := range seen {
		h, err := w.Of(ctx, s.Host)
		if err != nil {
			return err
		}
		now, err := h.Look(ctx, s.Thing)
		if err != nil {
			return err
		}
		if now != s.Value {
			errs = append(errs, fault.Refuse(s.Host, "", fmt.Errorf("%s has changed since the plan was made: then %s, now %s", s.Thing, orNothing(s.Value), orNothing(now))))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return &fault.Error{Class: fault.Refused, Err: errors.Join(errs...), State: "nothing was changed", Hint: newPlan}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Same refuses a preview that shows something else than the saved plan, though
// no fact that is kept has changed: of a passfile none is.
func (e *Engine) Same(pre *Preview) error {
	if e.Expect == nil {
		return nil
	}
	if pre.Run != "" {
		return fault.Refuse("", e.WaysOut(pre.Run), fmt.Errorf("run %s is not finished, and a saved plan goes on with none", pre.Run))
	}
	for _, l := range pre.Lines {
		if err := differs(l.Host, l.Step, e.saved(l.Node, l.Phase), l.Effects); err != nil {
			return err
		}
	}
	for _, l := range e.Expect {
		i := slices.IndexFunc(pre.Lines, func(x Line) bool { return x.Node == l.Node && x.Phase == l.Phase })
		if i < 0 && len(l.Effects) > 0 {
			return differs(l.Host, l.Step, l.Effects, nil)
		}
	}
	return nil
}

func (e *Engine) saved(node string, phase Phase) []effect.Description {
	for _, l := range e.Expect {
		if l.Node == node && l.Phase == phase {
			return l.Effects
		}
	}
	return nil
}

func differs(host, step string, saved, now []effect.Description) error {
	if slices.Equal(saved, now) {
		return nil
	}
	return fault.Refuse(host, newPlan, fmt.Errorf("%s: the saved plan shows: %s; now it would: %s", step, list(saved), list(now)))
}

func list(all []effect.Description) string {
	words := make([]string, 0, len(all))
	for _, d := range all {
		words = append(words, d.Host+": "+d.String())
	}
	return orNothing(strings.Join(words, ", "))
}

// asSaved is asked for each node just before its effects: what comes now is what the
// saved plan shows. The end of a bracket shows the inverses of its beginning, too.
func (r *run) asSaved(n *plan.Node, phase Phase, planned []effect.Effect) error {
	if r.e.Expect == nil {
		return nil
	}
	now := make([]effect.Description, 0, len(planned))
	for _, e := range planned {
		d := e.Describe()
		d.Host = e.On()
		now = append(now, d)
	}
	saved := r.e.saved(n.ID, phase)
	if phase == Close {
		saved = saved[:min(len(saved), len(now))]
	}
	if saved == nil {
		saved = []effect.Description{}
	}
	return differs(n.Host.Name, n.Kind, saved, now)
}
