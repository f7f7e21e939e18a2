package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"
)

// JSON writes v, indented, as its json tags say.
func JSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode json: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// YAML writes the same document as JSON, as YAML: the same keys in the same
// order. JSON is read back as the YAML that it is, so that there is one set of
// tags.
func YAML(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := JSON(&b, v); err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Load(b.Bytes(), &doc); err != nil {
		return fmt.Errorf("encode yaml: %w", err)
	}
	block(&doc)
	out, err := yaml.Dump(&doc, yaml.WithV4Defaults(), yaml.WithLineWidth(-1))
	if err != nil {
		return fmt.Errorf("encode yaml: %w", err)
	}
	_, err = w.Write(out)
	return err
}

// block takes JSON's braces and quotes away. A string that would read as
// another type keeps its quotes, by its tag; a text of several lines becomes a
// literal.
func block(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		block(c)
	}
}
