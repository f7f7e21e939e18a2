// Package settings reads how the tool itself shall behave: output, timeouts,
// where state is kept. What database hosts shall be is the inventory, which
// never passes through here.
//
// A value comes from, in this order: the flag, the environment variable
// PGREPCTL_<KEY>, ./.pgrepctl.yaml, $XDG_CONFIG_HOME/pgrepctl/config.yaml,
// /etc/pgrepctl/config.yaml, the default.
package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// systemFile is the lowest of the settings files.
const systemFile = "/etc/pgrepctl/config.yaml"

// Source is the kind of place a value comes from.
type Source string

const (
	FromDefault Source = "default"
	FromFile    Source = "file"
	FromEnv     Source = "env"
	FromFlag    Source = "flag"
)

// Origin is where a value comes from. Name is the flag, the variable or
// file:line; empty for a default.
type Origin struct {
	Source Source `json:"source"`
	Name   string `json:"name,omitempty"`
}

func (o Origin) String() string {
	if o.Name == "" {
		return string(o.Source)
	}
	return string(o.Source) + " " + o.Name
}

// Setting is one effective value, for showing.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// Settings are the effective values of one call.
type Settings struct {
	v       *viper.Viper
	origins map[string]Origin
	env     func(string) string
}

// Load reads settings for a command called in directory cwd with these flags
// (see AddFlags; parsed; flags that are not defined are passed over) and this
// environment. An empty variable counts as not set. Errors are *fault.Error of
// class Invalid and name every mistake in every file.
func Load(flags *pflag.FlagSet, env func(string) string, cwd string) (*Settings, error) {
	return load(flags, env, cwd, systemFile)
}

func load(flags *pflag.FlagSet, env func(string) string, cwd, system string) (*Settings, error) {
	s := &Settings{v: viper.New(), origins: make(map[string]Origin), env: env}
	for _, k := range Keys() {
		s.v.SetDefault(k.Name, k.initial())
		s.origins[k.Name] = Origin{Source: FromDefault}
	}
	// Layers are merged from the lowest up, so that the last one wins.
	// Variables are merged as a layer too: viper's BindEnv reads the process
	// environment, which is not the caller's env, and casts without a check.
	problems := []error{s.mergeFiles(cwd, system), s.mergeEnv()}
	problems = append(problems, s.bindFlags(flags))
	if err := errors.Join(problems...); err != nil {
		return nil, &fault.Error{
			Class: fault.Invalid,
			Op:    "read settings",
			Err:   err,
			Hint:  "docs/settings.md lists the keys and what they take",
		}
	}
	return s, nil
}

func (s *Settings) mergeFiles(cwd, system string) error {
	files := []string{system}
	if dir := s.configHome(); dir != "" {
		files = append(files, filepath.Join(dir, "pgrepctl", "config.yaml"))
	}
	files = append(files, filepath.Join(cwd, ".pgrepctl.yaml"))
	var problems []error
	for _, path := range files {
		entries, err := readFile(path, s.env("HOME"))
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, e := range entries {
			problems = append(problems, s.merge(e.key, e.value, Origin{FromFile, e.at}))
		}
	}
	return errors.Join(problems...)
}

func (s *Settings) mergeEnv() error {
	var problems []error
	for _, k := range Keys() {
		text := s.env(k.Env())
		if text == "" {
			continue
		}
		v, err := k.parse(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", k.Env(), err))
			continue
		}
		problems = append(problems, s.merge(k, v, Origin{FromEnv, k.Env()}))
	}
	return errors.Join(problems...)
}

func (s *Settings) bindFlags(flags *pflag.FlagSet) error {
	if flags == nil {
		return nil
	}
	var problems []error
	for _, k := range Keys() {
		f := flags.Lookup(k.Name)
		if f == nil {
			continue
		}
		problems = append(problems, s.v.BindPFlag(k.Name, f))
		if f.Changed {
			s.origins[k.Name] = Origin{FromFlag, "--" + k.Name}
		}
	}
	return errors.Join(problems...)
}

func (s *Settings) merge(k Key, value any, from Origin) error {
	s.origins[k.Name] = from
	return s.v.MergeConfigMap(map[string]any{k.Name: value})
}

// configHome is $XDG_CONFIG_HOME; the XDG base directory specification 0.8
// says to ignore a relative path there.
func (s *Settings) configHome() string { return s.xdg("XDG_CONFIG_HOME", ".config") }

func (s *Settings) xdg(name, below string) string {
	if dir := s.env(name); filepath.IsAbs(dir) {
		return dir
	}
	if home := s.env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}

// Origin says where the value of a key comes from.
func (s *Settings) Origin(key string) Origin { return s.origins[key] }

// All lists the effective settings in the order of Keys.
func (s *Settings) All() []Setting {
	keys := Keys()
	all := make([]Setting, 0, len(keys))
	for _, k := range keys {
		value := s.v.GetString(k.Name)
		switch {
		case k.Kind == Duration:
			value = s.v.GetDuration(k.Name).String()
		case k.Kind == Size:
			value = postgres.FormatBytes(s.size(k.Name))
		case k.Name == "state-dir":
			value = s.StateDir()
		}
		all = append(all, Setting{k.Name, value, s.origins[k.Name]})
	}
	return all
}

// Inventory is the path of the inventory file.
func (s *Settings) Inventory() string { return s.v.GetString("inventory") }

// Output is table, json or yaml.
func (s *Settings) Output() string { return s.v.GetString("output") }

// Color is auto, always or never.
func (s *Settings) Color() string { return s.v.GetString("color") }

// Plain asks for progress as lines, also on a terminal.
func (s *Settings) Plain() bool { return s.v.GetBool("plain") }

// Quiet asks for warnings and failures only.
func (s *Settings) Quiet() bool { return s.v.GetBool("quiet") }

// Verbose is how much more to show, from 0.
func (s *Settings) Verbose() int { return s.v.GetInt("verbose") }

// Yes is consent given beforehand.
func (s *Settings) Yes() bool { return s.v.GetBool("yes") }

// OnFailure is stop or undo.
func (s *Settings) OnFailure() string { return s.v.GetString("on-failure") }

// Parallel is how many hosts are read at a time, from 1.
func (s *Settings) Parallel() int { return s.v.GetInt("parallel") }

// ConnectTimeout bounds connecting and logging in to one host; 0 is what the
// inventory says.
func (s *Settings) ConnectTimeout() time.Duration { return s.v.GetDuration("connect-timeout") }

// Timeout bounds the whole command; 0 is no limit.
func (s *Settings) Timeout() time.Duration { return s.v.GetDuration("timeout") }

// TemplatesDir is the directory whose plans/NAME.yaml is the plan NAME, before a
// built-in one; may be empty.
func (s *Settings) TemplatesDir() string { return s.v.GetString("templates-dir") }

// LogFile is appended to as JSON lines; may be empty.
func (s *Settings) LogFile() string { return s.v.GetString("log-file") }

// MaxLag and MinLag are limits of lag in bytes, MaxLagTime and MinLagTime in time,
// HoldDown and ReplayStall the patience of a check. 0 is none.
func (s *Settings) MaxLag() int64              { return s.size("max-lag") }
func (s *Settings) MinLag() int64              { return s.size("min-lag") }
func (s *Settings) MaxLagTime() time.Duration  { return s.v.GetDuration("max-lag-time") }
func (s *Settings) MinLagTime() time.Duration  { return s.v.GetDuration("min-lag-time") }
func (s *Settings) HoldDown() time.Duration    { return s.v.GetDuration("hold-down") }
func (s *Settings) ReplayStall() time.Duration { return s.v.GetDuration("replay-stall") }

// size reads what was checked before: a flag is text, the rest is a number.
func (s *Settings) size(key string) int64 {
	n, err := postgres.ParseBytes(s.v.GetString(key))
	if err != nil {
		panic("settings: " + key + ": " + err.Error())
	}
	return n
}

// StateDir holds the journals of runs. A process without a home, as a system
// service is, keeps them where the Filesystem Hierarchy Standard 3.0 (5.8)
// puts the state of programs.
func (s *Settings) StateDir() string {
	if dir := s.v.GetString("state-dir"); dir != "" {
		return dir
	}
	if dir := s.xdg("XDG_STATE_HOME", filepath.Join(".local", "state")); dir != "" {
		return filepath.Join(dir, "pgrepctl")
	}
	return "/var/lib/pgrepctl"
}
