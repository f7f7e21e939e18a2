package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
	"github.com/pgrepctl/pgrepctl/pkg/settings"
	"github.com/spf13/pflag"
)

func TestARemedyNamesTheInventoryThatWasGiven(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"table", "json"} {
		var out bytes.Buffer
		a := &app{Stdio: Stdio{Out: &out, Env: func(string) string { return "" }}}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		settings.AddFlags(flags)
		err := flags.Parse([]string{"-i", "shop.yaml", "-o", output})
		if err == nil {
			a.set, err = settings.Load(flags, a.Env, t.TempDir())
		}
		if err == nil {
			err = a.showFindings([]doctor.Finding{{ID: "data.partial", Host: "pg2", Severity: doctor.Warn, Found: "a copy", Remedy: "pgrepctl runs resume R1, or pgrepctl standby bootstrap pg2"}}, 0)
		}
		if want := "pgrepctl -i shop.yaml runs resume R1, or pgrepctl -i shop.yaml standby bootstrap pg2"; err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, want %q in:\n%s", output, err, want, &out)
		}
	}
}
