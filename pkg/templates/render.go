// Package templates renders the string values of plan files, with text/template
// and a small set of functions. A name that is not known is an error, never an
// empty string.
package templates

import (
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
)

// Data is what a plan's strings may name: the plan's variables, and
// replication.user.
func Data(c *inventory.Cluster, vars map[string]string) map[string]any {
	d := map[string]any{
		"cluster":     c.Name,
		"replication": map[string]any{"user": c.Replication.User},
	}
	for k, v := range vars {
		d[k] = v
	}
	return d
}

// Funcs are the functions of plan files.
func Funcs(c *inventory.Cluster) template.FuncMap {
	find := func(name string) (*inventory.Host, error) {
		h, ok := c.Host(name)
		if !ok {
			return nil, fmt.Errorf("no host %q in the inventory", name)
		}
		return h, nil
	}
	return template.FuncMap{
		// cidr is the address of a host as pg_hba.conf wants it.
		"cidr": func(name string) (string, error) {
			h, err := find(name)
			if err != nil {
				return "", err
			}
			return h.CIDR(), nil
		},
		// slot is the name of a host's slot on its upstream.
		"slot": func(name string) (string, error) {
			h, err := find(name)
			if err != nil {
				return "", err
			}
			return h.Slot, nil
		},
		// hbatype is hostssl where the inventory insists on TLS.
		"hbatype": func() string {
			switch c.Replication.SSLMode {
			case "require", "verify-ca", "verify-full":
				return "hostssl"
			}
			return "host"
		},
	}
}

// Render renders one string; one without {{ is returned as it is.
func Render(text string, funcs template.FuncMap, data map[string]any) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	t, err := template.New("").Option("missingkey=error").Funcs(funcs).Parse(text)
	if err != nil {
		return "", fmt.Errorf("template %s: %s", text, strings.TrimPrefix(err.Error(), "template: :1: "))
	}
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("template %s: %w", text, cause(err))
	}
	return b.String(), nil
}

// cause is what a function of the template, or the lookup of a name, said,
// without the places in a text of one line.
func cause(err error) error {
	var exec template.ExecError
	if errors.As(err, &exec) {
		err = exec.Err
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	if _, said, ok := strings.Cut(err.Error(), ">: "); ok {
		return errors.New(said)
	}
	return err
}
