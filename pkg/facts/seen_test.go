package facts

import (
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// What was read goes into a saved plan, which is a file that travels.
func TestASavedPlanHasNoSecretOfASetting(t *testing.T) {
	t.Parallel()
	h := New("pg1", nil)
	all := postgres.Settings{}
	for name, value := range map[string]string{
		"work_mem":                "4096",
		"archive_command":         "KEY=canary-password cp %p",
		"archive_library_options": "AWS_SECRET_ACCESS_KEY=canary-password",
		"my_ext.auth_token":       "canary-password",
		"my_ext.url":              "https://u:canary-password@metrics",
	} {
		all[name] = postgres.Setting{Name: name, Value: value, Source: "configuration file"}
	}
	h.sawSettings(all)
	var names []string
	for _, s := range h.Seen() {
		names = append(names, s.Name)
		if strings.Contains(s.Value, "canary-password") {
			t.Errorf("%s is seen with its secret", s.Name)
		}
	}
	if len(names) != 1 || names[0] != "work_mem" {
		t.Errorf("seen: %v", names)
	}
}
