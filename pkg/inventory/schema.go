package inventory

import (
	"bytes"
	_ "embed"
)

//go:embed schema.json
var schema []byte

//go:embed example.yaml
var example []byte

// Schema returns the JSON schema (draft 2020-12) of an inventory file, for
// editors. It knows the keys and the spelling of values; what needs more than
// one value to see, only Parse finds.
func Schema() []byte { return bytes.Clone(schema) }

// Example returns a small inventory to start from.
func Example() []byte { return bytes.Clone(example) }
