package inventory

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func TestSchemaIsGeneratedFromTheDocument(t *testing.T) {
	t.Parallel()
	golden(t, "schema.json", generatedSchema(t))
	if !json.Valid(Schema()) {
		t.Fatal("the embedded schema is not JSON")
	}
}

func TestSchemaAcceptsWhatParseAccepts(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	for _, file := range goodFiles(t) {
		if err := schema.Validate(plain(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// The schema sees single values only, so it is tried on those files whose
// mistakes are such.
func TestSchemaRefusesWrongKeysAndValues(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	for _, name := range []string{
		"unknown-keys", "scalars", "literal-password", "missing-keys", "settings", "names", "paths", "lists",
	} {
		if schema.Validate(plain(t, filepath.Join("testdata", "bad", name+".yaml"))) == nil {
			t.Errorf("%s is valid by the schema", name)
		}
	}
}

// plain reads YAML as JSON tools see it.
func plain(t *testing.T, file string) any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Load(data, &v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	v, err = validator.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func compiledSchema(t *testing.T) *validator.Schema {
	t.Helper()
	doc, err := validator.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("inventory.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("inventory.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// generatedSchema reflects the document. Types that decode themselves are
// mapped by mapped; what tags say is added to the sections afterwards.
func generatedSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml",
		Mapper:       mapped,
		Namer:        func(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "Section") },
		// required comes from our own tags
		RequiredFromJSONSchemaTags: true,
	}
	root := r.ReflectFromType(reflect.TypeFor[document]())
	for _, listed := range []reflect.Type{reflect.TypeFor[hostSection](), reflect.TypeFor[archiveSection](), reflect.TypeFor[balancerSection]()} {
		maps.Copy(root.Definitions, r.ReflectFromType(listed).Definitions)
	}
	for name, section := range map[string]field{
		"document": &document{}, "postgres": &postgresSection{}, "service": &serviceSection{},
		"replication": &replicationSection{}, "ssh": &sshSection{}, "secret": &secretSection{},
		"host": &hostSection{}, "archive": &archiveSection{}, "traffic": &trafficSection{}, "balancer": &balancerSection{},
	} {
		def, ok := root.Definitions[name]
		if !ok {
			t.Fatalf("no definition of %s in the schema", name)
		}
		for _, f := range fieldsOf(section) {
			prop, ok := def.Properties.Get(f.key)
			if !ok {
				t.Fatalf("no %s.%s in the schema", name, f.key)
			}
			prop.Description = f.tag.Get("doc")
			if text, ok := f.tag.Lookup("default"); ok {
				var v any
				if yaml.Load([]byte(text), &v) == nil {
					prop.Default = v
				}
			}
			if f.tag.Get("required") == "true" {
				def.Required = append(def.Required, f.key)
			}
		}
	}
	one := uint64(1)
	root.Definitions["secret"].MinProperties, root.Definitions["secret"].MaxProperties = &one, &one
	root.ID = "https://github.com/pgrepctl/pgrepctl/pkg/inventory/schema.json"
	root.Title = "pgrepctl inventory"
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func mapped(t reflect.Type) *jsonschema.Schema {
	one := uint64(1)
	array := func(item *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "array", Items: item, MinItems: &one}
	}
	object := func(name form, val *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "object", PropertyNames: textSchema(name), AdditionalProperties: val}
	}
	switch v := reflect.New(t).Interface().(type) {
	case *argv:
		return array(formSchema(argument{}.form()))
	case *settingMap:
		min := &jsonschema.Schema{Type: "object", Required: []string{"min"}, AdditionalProperties: jsonschema.FalseSchema}
		min.Properties = jsonschema.NewProperties()
		min.Properties.Set("min", formSchema(minimum{}.form()))
		val := formSchema(settingValue{}.form())
		val.AnyOf = append(val.AnyOf, min)
		return object(settingName{}.form(), val)
	case *pathMap:
		return object(absPath{}.form(), formSchema(absPath{}.form()))
	case *textMap:
		return object(labelName{}.form(), formSchema(labelText{}.form()))
	case *archiveList:
		two := uint64(2)
		list := array(&jsonschema.Schema{Ref: "#/$defs/archive"})
		list.MaxItems = &two
		return list
	case *hostMap:
		hosts := object(hostName{}.form(), &jsonschema.Schema{Ref: "#/$defs/host"})
		hosts.MinProperties = &one
		return hosts
	case *balancerMap:
		balancers := object(hostName{}.form(), &jsonschema.Schema{Ref: "#/$defs/balancer"})
		balancers.MinProperties = &one
		return balancers
	case interface {
		field
		form() form
	}:
		item := formSchema(v.form())
		if strings.HasPrefix(t.Name(), "list[") {
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{item, array(item)}}
		}
		return item
	}
	return nil
}

// formSchema allows the types that YAML gives unquoted values of the form.
func formSchema(f form) *jsonschema.Schema {
	text := textSchema(f)
	if f.JSON == nil {
		return text
	}
	any := &jsonschema.Schema{}
	for _, typ := range f.JSON {
		s := &jsonschema.Schema{Type: typ}
		if typ == "string" {
			s = text
		}
		if f.Label == "port" && typ == "integer" {
			s.Minimum, s.Maximum = "1", "65535"
		}
		any.AnyOf = append(any.AnyOf, s)
	}
	return any
}

func textSchema(f form) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string", Pattern: f.Pattern}
	for _, e := range f.Enum {
		s.Enum = append(s.Enum, e)
	}
	if f.Enum == nil {
		max := uint64(f.MaxLen)
		if max == 0 {
			max = defaultMaxLen
		}
		s.MaxLength = &max
	}
	if !f.Empty && f.Pattern == "" && f.Enum == nil {
		one := uint64(1)
		s.MinLength = &one
	}
	return s
}
