package plan

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

var (
	unknownField = regexp.MustCompile("^field (.+) not found in type .*$")
	wrongType    = regexp.MustCompile("^cannot construct (!!\\w+)(?: `(.*)`)? into (.+)$")
)

// reword says in the words of a plan file what the YAML decoder says in those
// of Go: into is what it decoded into.
func reword(p *inventory.Problem, into any) {
	if m := unknownField.FindStringSubmatch(p.Message); m != nil {
		known := parameters(reflect.TypeOf(into))
		p.Message = fmt.Sprintf("unknown parameter %q", m[1])
		p.Hint = fault.DidYouMean(m[1], known)
		if p.Hint == "" && len(known) > 0 {
			p.Hint = "it has " + strings.Join(known, ", ")
		}
		return
	}
	if m := wrongType.FindStringSubmatch(p.Message); m != nil {
		what := strings.TrimPrefix(m[1], "!!")
		if m[2] != "" {
			what = fmt.Sprintf("%q", m[2])
		}
		p.Message = what + " is not " + article(m[3])
	}
}

// article names a Go type for a person.
func article(of string) string {
	switch {
	case of == "bool":
		return "true or false"
	case of == "time.Duration":
		return "a duration such as 90s or 10m"
	case of == "string":
		return "a text"
	case strings.HasPrefix(of, "int"):
		return "a number"
	}
	return "a mapping of parameters"
}

// parameters are the keys that a struct takes, its inner structs' too.
func parameters(of reflect.Type) []string {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		out = append(out, name)
		if f.Type.Kind() == reflect.Struct {
			out = append(out, parameters(f.Type)...)
		}
	}
	return out
}
