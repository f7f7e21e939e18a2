package inventory

import (
	"errors"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
)

// Parse checks the bytes of an inventory; path only names them in errors,
// which are as Load's.
func Parse(path string, data []byte) (*Cluster, error) {
	d := &decoder{file: path, compiled: make(map[string]*regexp.Regexp), paths: make(map[Pos]string)}
	var cluster *Cluster
	if root := d.root(data); root != nil {
		doc := &document{}
		doc.mark(d.pos(root))
		doc.decode(d, root, "")
		drafts := drafted(doc)
		(&checker{doc: doc, drafts: drafts, decoder: d}).all()
		if len(d.problems) == 0 {
			cluster = built(path, doc, drafts)
		}
	}
	if len(d.problems) > 0 {
		// No Op: each line must begin with its place to be clickable.
		return nil, &fault.Error{Class: fault.Invalid, Err: d.problems.sorted()}
	}
	return cluster, nil
}

// root returns the top node of the one document, or nil after a problem.
func (d *decoder) root(data []byte) *yaml.Node {
	whole := Pos{File: d.file}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		d.syntax(err)
		return nil
	}
	switch {
	case len(docs) == 0 || len(docs[0].Content) == 0:
		d.problems.add(whole, "", "start one: pgrepctl inventory init", "the file is empty")
		return nil
	case len(docs) > 1:
		d.problem(&docs[1], "", "one file is one cluster", "a second YAML document begins here")
		return nil
	}
	top := docs[0].Content[0]
	if isNull(top) {
		d.problem(top, "", "start one: pgrepctl inventory init", "the file is empty")
		return nil
	}
	return top
}

// syntax reports what the YAML reader refused. Its message is passed on but
// for names: a password that begins with * reads as a reference to an anchor
// of that name.
func (d *decoder) syntax(err error) {
	at := Pos{File: d.file}
	message, hint := "not readable as YAML", ""
	var one *yaml.LoadError
	if errors.As(err, &one) {
		if one.Mark.Line > 0 {
			at.Line, at.Col = one.Mark.Line, one.Mark.Column
		}
		message = "YAML: " + one.Message
		if one.ContextMsg != "" {
			message += " " + one.ContextMsg
		}
		if strings.Contains(one.Message, "'") && !strings.Contains(one.Message, "expected '") {
			message, hint = "YAML: unknown anchor or tag", "quote a text that begins with *, & or !"
		}
	}
	d.problems.add(at, "", hint, "%s", message)
}
