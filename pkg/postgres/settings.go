package postgres

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Setting is one row of pg_settings, as Version.SettingsQuery selects it.
type Setting struct {
	Name           string `json:"name"`
	Value          string `json:"setting"` // in Unit
	Unit           string `json:"unit"`    // "8kB", "ms", … or empty
	Context        string `json:"context"`
	Vartype        string `json:"vartype"` // bool, integer, real, enum, string
	Source         string `json:"source"`
	SourceFile     string `json:"sourcefile"`      // empty to those who may not see it
	PendingRestart bool   `json:"pending_restart"` // the files hold another value; never on 9.4, which cannot tell
	BootValue      string `json:"boot_val"`
}

// Settings are the settings of one server by name, spelled as pg_settings does.
type Settings map[string]Setting

// NewSettings indexes rows by name.
func NewSettings(rows []Setting) Settings {
	s := make(Settings, len(rows))
	for _, r := range rows {
		s[r.Name] = r
	}
	return s
}

// Lookup finds a setting whatever the case of its name, as the server does.
func (s Settings) Lookup(name string) (Setting, bool) {
	if v, ok := s[name]; ok {
		return v, true
	}
	for _, n := range s.Names() {
		if strings.EqualFold(n, name) {
			return s[n], true
		}
	}
	return Setting{}, false
}

// Names are the names in order.
func (s Settings) Names() []string {
	out := make([]string, 0, len(s))
	for n := range s {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

// NeedsRestart reports whether a change takes effect only when the server
// starts. The server's own answer is the only source: primary_conninfo, ssl and
// others moved between versions.
func (s Setting) NeedsRestart() bool { return s.Context == "postmaster" }

// Int reads an integer setting in its own unit.
func (s Setting) Int() (int64, error) {
	n, err := strconv.ParseInt(s.Value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read setting %s: %w", s.Name, err)
	}
	return n, nil
}
