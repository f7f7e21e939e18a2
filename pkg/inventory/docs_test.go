package inventory

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tables of docs/inventory.md are made from the document's tags; -update
// writes them.
func TestDocsShowEveryKeyOfTheDocument(t *testing.T) {
	t.Parallel()
	file := filepath.Join("..", "..", "docs", "inventory.md")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, section := range map[string]field{
		"top": &document{}, "postgres": &postgresSection{}, "service": &serviceSection{},
		"replication": &replicationSection{}, "ssh": &sshSection{}, "host": &hostSection{}, "archive": &archiveSection{},
		"traffic": &trafficSection{}, "balancer": &balancerSection{},
	} {
		begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatalf("no place for the table of %s", name)
		}
		text = before + begin + table(section) + end + after
	}
	golden(t, file, []byte(text))
}

func TestDocsBeginWithTheExample(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "inventory.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(Example()), "\n") // without the comment
	if !strings.Contains(string(data), "```yaml\n"+body+"```") {
		t.Error("docs/inventory.md does not show the example")
	}
}

func table(section field) string {
	var b strings.Builder
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, f := range fieldsOf(section) {
		def := f.tag.Get("derived")
		if text, ok := f.tag.Lookup("default"); ok {
			def = "`" + text + "`"
		}
		if f.tag.Get("required") == "true" {
			def = "required"
		}
		doc := strings.ReplaceAll(f.tag.Get("doc"), "|", `\|`)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, label(f.field), def, doc)
	}
	return b.String()
}

func label(f field) string {
	of := func(f form) string {
		if f.Enum != nil {
			return "`" + strings.Join(f.Enum, "`, `") + "`"
		}
		return f.Label
	}
	switch v := f.(type) {
	case *argv:
		return "list: program, arguments"
	case *secretSection:
		return "reference to a secret"
	case *settingMap:
		return "mapping: setting to value or `{min: N}`"
	case *pathMap:
		return "mapping: path to path"
	case *textMap:
		return "mapping: name to text"
	case *archiveList:
		return "list of archives"
	case *hostMap:
		return "mapping: name to host"
	case *balancerMap:
		return "mapping: name to balancer"
	case interface{ form() form }:
		if strings.Contains(fmt.Sprintf("%T", f), "list[") {
			return of(v.form()) + ", or a list of them"
		}
		return of(v.form())
	}
	return "mapping"
}
