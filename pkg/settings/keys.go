package settings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Kind is the form of a setting's value.
type Kind string

const (
	Text     Kind = "text"
	Path     Kind = "path"
	Bool     Kind = "bool"
	Number   Kind = "number"   // an integer, from 1
	Count    Kind = "count"    // an integer, from 0; the flag counts how often it is given
	Size     Kind = "size"     // bytes, with PostgreSQL's units: 16MB, 1GB; 0 is none
	Duration Kind = "duration" // Go's form: 10s, 5m, 1h30m; 0 is none
	Choice   Kind = "choice"   // one of Key.Choices
)

// Key is one setting of the tool. Nothing about database hosts is a setting:
// that is the inventory's.
type Key struct {
	Name    string // of the key in a file and of the flag
	Letter  string // short flag, or empty
	Kind    Kind
	Choices []string
	Default string
	// Derived says in words where the value comes from when it is given
	// nowhere; Default is empty then.
	Derived string
	// CallOnly keeps the key out of settings files: it is consent, and
	// consent is given with each call and not once for all.
	CallOnly bool
	// Command is the one command that has the flag, empty for all.
	Command string
	Doc     string
}

// Env is the name of the key's environment variable.
func (k Key) Env() string {
	return "PGREPCTL_" + strings.ToUpper(strings.ReplaceAll(k.Name, "-", "_"))
}

// Keys is the one list of settings, in the order in which they are shown.
func Keys() []Key {
	return []Key{
		{Name: "inventory", Letter: "i", Kind: Path, Default: "pgrepctl.yaml", Doc: "the inventory file of the cluster"},
		{Name: "output", Letter: "o", Kind: Choice, Choices: []string{"table", "json", "yaml"}, Default: "table", Doc: "form of the result on standard output; json also makes the progress on standard error JSON lines"},
		{Name: "color", Kind: Choice, Choices: []string{"auto", "always", "never"}, Default: "auto", Doc: "colours; auto obeys NO_COLOR, CLICOLOR_FORCE and whether the output is a terminal"},
		{Name: "plain", Kind: Bool, Default: "false", Doc: "progress as lines, one an event, also on a terminal"},
		{Name: "quiet", Letter: "q", Kind: Bool, Default: "false", Doc: "of the progress only warnings and failures"},
		{Name: "verbose", Letter: "v", Kind: Count, Default: "0", Doc: "1 shows the diffs of changed files, 2 also where each step begins and ends"},
		{Name: "yes", Letter: "y", Kind: Bool, Default: "false", CallOnly: true, Doc: "do not ask before acting"},
		{Name: "on-failure", Kind: Choice, Choices: []string{"stop", "undo"}, Default: "stop", Doc: "what a run does when a step fails: stop where it is, to be resumed, or undo what it did"},
		{Name: "parallel", Kind: Number, Default: "64", Doc: "hosts that are read at a time"},
		{Name: "connect-timeout", Kind: Duration, Default: "0s", Doc: "time for connecting and logging in to one host; 0 is what the inventory says"},
		{Name: "timeout", Kind: Duration, Default: "0s", Doc: "time for the whole command; 0 is no limit"},
		{Name: "state-dir", Kind: Path, Derived: "$XDG_STATE_HOME/pgrepctl, else ~/.local/state/pgrepctl, else /var/lib/pgrepctl", Doc: "where the journals of runs are kept"},
		{Name: "templates-dir", Kind: Path, Derived: "none", Doc: "directory of plans of your own: its plans/NAME.yaml is the plan NAME, in place of a built-in one of that name"},
		{Name: "log-file", Kind: Path, Derived: "none", Doc: "file that the events of runs are appended to, as JSON lines"},
		{Name: "max-lag", Command: "check", Kind: Size, Default: "64MB", Doc: "a standby that is behind by more than that much WAL is out; 0 is no limit"},
		{Name: "min-lag", Command: "check", Kind: Size, Default: "16MB", Doc: "it comes in again when it was behind by no more than that for the whole hold-down"},
		{Name: "max-lag-time", Command: "check", Kind: Duration, Default: "30s", Doc: "a standby whose data is known to be older than that is out; 0 is no limit"},
		{Name: "min-lag-time", Command: "check", Kind: Duration, Default: "10s", Doc: "it comes in again when its data was known to be no older than that for the whole hold-down"},
		{Name: "hold-down", Command: "check", Kind: Duration, Default: "30s", Doc: "how long a standby that is out must be good before it comes in"},
		{Name: "replay-stall", Command: "check", Kind: Duration, Default: "1m0s", Doc: "a standby that has something to replay and replays nothing for that long is out; 0 is no limit"},
	}
}

func find(name string) (Key, bool) {
	keys := Keys()
	if i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name }); i >= 0 {
		return keys[i], true
	}
	return Key{}, false
}

// parse checks text from a flag, the environment or a file. The same rule for
// all of them: viper's own casts turn what they do not understand into zero.
func (k Key) parse(text string) (any, error) {
	switch k.Kind {
	case Bool:
		switch strings.ToLower(text) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
		return nil, fmt.Errorf("%q is not true or false", text)
	case Number, Count:
		least := 1
		if k.Kind == Count {
			least = 0
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < least {
			return nil, fmt.Errorf("%q is not a whole number from %d", text, least)
		}
		return n, nil
	case Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("%q is not a duration like 10s, 5m or 1h30m", text)
		}
		return d, nil
	case Size:
		n, err := postgres.ParseBytes(text)
		if err != nil {
			return nil, err
		}
		return n, nil
	case Choice:
		if !slices.Contains(k.Choices, text) {
			return nil, fmt.Errorf("%q is not one of %s", text, strings.Join(k.Choices, ", "))
		}
		return text, nil
	default:
		if text == "" {
			return nil, fmt.Errorf("has no value")
		}
		return text, nil
	}
}

// initial is the typed value of Default.
func (k Key) initial() any {
	if k.Default == "" {
		return ""
	}
	v, err := k.parse(k.Default)
	if err != nil {
		panic("settings: default of " + k.Name + ": " + err.Error())
	}
	return v
}
