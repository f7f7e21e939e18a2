package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
)

// partlyUp is the inventory of a primary that answers, and two standbys that do not.
func partlyUp(t *testing.T, dir string) string {
	t.Helper()
	up := remotetest.Start(t, remotetest.Config{})
	inv := filepath.Join(dir, "inventory.yaml")
	text := fmt.Sprintf(`cluster: shop
postgres: {version: 15, data_directory: %[1]s, os_user: nobody}
ssh: {user: nobody, become: none, port: %[2]d, config_file: %[3]s, identity_file: %[4]s, known_hosts: %[5]s}
hosts:
  pg1: {address: 127.0.0.1, role: primary}
  pg2: {address: 127.0.0.2, role: standby, ssh: {port: 1}}
  pg3: {address: 127.0.0.3, role: standby, ssh: {port: 1}}
`, filepath.Join(dir, "data"), up.Port, os.DevNull, up.Key.File, up.KnownHosts)
	if err := os.WriteFile(inv, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestAllHostsThatDoNotAnswerAreNamedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inv := partlyUp(t, dir)
	for name, c := range map[string]struct {
		args []string
		hint string
	}{
		"plan":              {[]string{"plan"}, "--without pg2,pg3"},
		"apply":             {[]string{"apply", "--yes"}, "--without pg2,pg3"},
		"retire one of two": {[]string{"standby", "retire", "pg2", "--dry-run"}, "if pg2 is lost for good: pgrepctl -i " + inv + " standby retire pg2 --gone --without pg3"},
		"retire the gone":   {[]string{"standby", "retire", "pg2", "--gone", "--dry-run"}, "--without pg3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			env := func(name string) string { return map[string]string{"HOME": dir}[name] }
			code := Run(t.Context(), append([]string{"-i", inv}, c.args...), Stdio{In: strings.NewReader(""), Out: &out, Err: &errs, Env: env})
			if code != int(fault.Unreachable) {
				t.Errorf("exit code %d", code)
			}
			got := errs.String()
			if !strings.Contains(got, "pg3: connect: ") || !strings.Contains(got, c.hint) || strings.Count(got, "error: ") != 1 {
				t.Errorf("want %q in:\n%s", c.hint, got)
			}
			if gone := strings.Contains(strings.Join(c.args, " "), "--gone"); !gone && (!strings.Contains(got, "pg2: connect: ") || strings.Count(got, "hint: ") != 1) {
				t.Errorf("not both with one hint:\n%s", got)
			}
		})
	}
}

func TestAPlanSaysOfAHostThatDoesNotAnswerThatItIsRetired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inv := partlyUp(t, dir)
	journal := `{"seq":1,"at":"2026-01-01T00:00:00Z","type":"start","run":{"id":"20260101T000000Z-0001","cluster":"shop","plan":"retire-standby","vars":{"standby":"pg3"},"operator":"anna@desk","version":"1"}}
{"seq":2,"at":"2026-01-01T00:00:02Z","type":"end","status":"done"}
`
	if err := os.MkdirAll(filepath.Join(dir, "pgrepctl", "shop"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pgrepctl", "shop", "20260101T000000Z-0001.jsonl"), []byte(journal), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	env := func(name string) string { return map[string]string{"HOME": dir, "XDG_STATE_HOME": dir}[name] }
	Run(t.Context(), []string{"-i", inv, "plan"}, Stdio{In: strings.NewReader(""), Out: &errs, Err: &errs, Env: env})
	want := "hint:  pg3 is retired (run 20260101T000000Z-0001), and the inventory still has it: delete line 7 of " + inv
	if got := errs.String(); !strings.Contains(got, want) || !strings.Contains(got, "; to leave them out: the same command with --without pg2,pg3") {
		t.Errorf("want %q in:\n%s", want, got)
	}
}

func TestTheWayRoundABalancerOrThePrimaryIsNotToLeaveItOut(t *testing.T) {
	t.Parallel()
	inv := &inventory.Cluster{Hosts: []*inventory.Host{{Name: "pg1", Role: inventory.Primary}, {Name: "pg2", Role: inventory.Standby, UpstreamName: "pg1"}}}
	for _, name := range []string{"lb", "pg1"} {
		err := error(&fault.Error{Class: fault.Unreachable, Host: name, Err: errors.New("refused")})
		if got := (retirement{host: "pg2"}).explain(inv, err); got != err {
			t.Errorf("%s: retire: %+v", name, got)
		}
		if got := (&convergeFlags{}).explain(inv, nil, err); got != err {
			t.Errorf("%s: plan: %+v", name, got)
		}
	}
}
