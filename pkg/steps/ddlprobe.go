package steps

import (
	"context"
	"errors"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// DDLProbe runs a script in the scratch database of its bracket, and finds out what each
// statement locks and writes anew.
type DDLProbe struct {
	Of     string `yaml:"of"`     // the database whose schema the scratch one has
	File   string `yaml:"file"`   // what the script is called
	Script string `yaml:"script"` // its text
}

var _ Step = (*DDLProbe)(nil)

// Validate is called when a plan file is read.
func (s *DDLProbe) Validate() error {
	if s.Of == "" {
		return errors.New("of: want the name of a database")
	}
	_, err := ddl.Parse(s.File, []byte(s.Script), 0)
	return err
}

// Plan is done once a run: a run that is resumed has the results in its journal.
func (s *DDLProbe) Plan(ctx context.Context, in In) (Planned, error) {
	if _, ok := in.Run.Output(effect.ProbeOutput); ok {
		return noop("this run knows what they do"), nil
	}
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	script, err := ddl.Parse(s.File, []byte(s.Script), h.Server.Version)
	if err != nil {
		return Planned{}, err
	}
	return Planned{Effects: []effect.Effect{
		&effect.ProbeDDL{Host: in.Self.Name, Database: postgres.ScratchName(in.Run.ID()), Of: s.Of, Script: script},
	}}, nil
}
