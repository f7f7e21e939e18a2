package templates_test

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/templates"
)

func TestRender(t *testing.T) {
	t.Parallel()
	inv, err := inventory.Parse("x.yaml", []byte(`cluster: shop
postgres: {version: 15, data_directory: /pg}
replication: {user: replicator, sslmode: prefer}
hosts:
  pg1: {address: 10.0.0.11, role: primary}
  pg2: {address: "fd00::12", role: standby, slot: late}
  pg3: {address: pg3.example.org, role: standby}
`))
	if err != nil {
		t.Fatal(err)
	}
	funcs, data := templates.Funcs(inv), templates.Data(inv, map[string]string{"standby": "pg2"})
	for _, c := range []struct{ text, want, wrong string }{
		{"as it is: } {", "as it is: } {", ""},
		{"{{.standby}} of {{.cluster}} by {{.replication.user}}", "pg2 of shop by replicator", ""},
		{`{{cidr "pg1"}} {{cidr .standby}} {{cidr "pg3"}}`, "10.0.0.11/32 fd00::12/128 pg3.example.org", ""},
		{`{{slot .standby}} {{slot "pg3"}} "{{slot "pg1"}}"`, `late pg3 ""`, ""},
		{"{{hbatype}}", "host", ""},
		{"{{.gone}}", "", `template {{.gone}}: map has no entry for key "gone"`},
		{"{{.replication.password}}", "", `template {{.replication.password}}: map has no entry for key "password"`},
		{`{{cidr "pg9"}}`, "", `template {{cidr "pg9"}}: no host "pg9" in the inventory`},
		{`{{slot "pg9"}}`, "", `template {{slot "pg9"}}: no host "pg9" in the inventory`},
		{"{{env}}", "", `template {{env}}: function "env" not defined`},
		{"{{if", "", "template {{if: unclosed action"},
	} {
		got, err := templates.Render(c.text, funcs, data)
		if c.wrong == "" && (err != nil || got != c.want) {
			t.Errorf("%s: got %q, %v", c.text, got, err)
		}
		if c.wrong != "" && (err == nil || !strings.HasPrefix(err.Error(), c.wrong)) {
			t.Errorf("%s: got %v, want %s", c.text, err, c.wrong)
		}
	}
	inv.Replication.SSLMode = "verify-full"
	if got, err := templates.Render("{{hbatype}}", funcs, data); err != nil || got != "hostssl" {
		t.Errorf("got %q, %v", got, err)
	}
}
