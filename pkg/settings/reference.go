package settings

import (
	"fmt"
	"strings"
)

// Markdown is the reference page of all settings, docs/settings.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Settings

How the tool itself behaves. What the database hosts shall be is said in the
inventory, never here.

A value is taken from the first of these that gives it:

1. the flag,
2. the environment variable (an empty one counts as not set),
3. ` + "`.pgrepctl.yaml`" + ` in the current directory,
4. ` + "`$XDG_CONFIG_HOME/pgrepctl/config.yaml`" + ` (by default ` + "`~/.config`" + `),
5. ` + "`/etc/pgrepctl/config.yaml`" + `,
6. the default.

A settings file is flat YAML: ` + "`parallel: 4`" + `. An unknown key, a key given twice or
a wrong value is an error that names the file and the line. A relative path in
a file is meant from the directory of that file; ` + "`~/`" + ` is the home directory.
` + "`pgrepctl config show`" + ` prints every effective value and where it comes
from.

| Key | Flag | Environment | Value | Default | Meaning |
|---|---|---|---|---|---|
`)
	for _, k := range Keys() {
		flag := "`--" + k.Name + "`"
		if k.Letter != "" {
			flag = "`-" + k.Letter + "`, " + flag
		}
		value := string(k.Kind)
		if k.Kind == Choice {
			value = "`" + strings.Join(k.Choices, "`, `") + "`"
		}
		def := k.Derived
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		doc := k.Doc
		if k.Command != "" {
			flag += " of `" + k.Command + "`"
		}
		if k.CallOnly {
			doc += " (not in files: consent is given with each call)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s | %s |\n", k.Name, flag, k.Env(), value, def, doc)
	}
	b.WriteString(`
A number is whole and at least 1, a count at least 0. A duration is written
` + "`10s`, `5m` or `1h30m`" + `, a size ` + "`16MB`" + ` or ` + "`1GB`" + `, in powers of 1024. A bool is ` + "`true` or `false`" + `; ` + "`yes`, `on` and `1`, `no`, `off`" + `
and ` + "`0`" + ` are understood too. With both quiet and verbose, quiet wins.

What is printed as JSON or YAML says by ` + "`format`" + ` what it is and in which version of its form, such as ` + "`pgrepctl.status/v1`, `pgrepctl.doctor/v1`, `pgrepctl.runs/v1`" + `.
Documents that are, or could be, files of yours (` + "`inventory show`, `plans show`" + `) are printed as they are.
`)
	return b.String()
}
