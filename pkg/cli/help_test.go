package cli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// commands is every command that a user may type.
func commands(root *cobra.Command) []*cobra.Command {
	out := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		if !sub.Hidden {
			out = append(out, commands(sub)...)
		}
	}
	return out
}

func everyCommand() []*cobra.Command {
	return commands((&app{Stdio: Stdio{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, Env: func(string) string { return "" }}}).root())
}

// call runs one command line in this process.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, Stdio{In: strings.NewReader(""), Out: &out, Err: &errs, Env: func(string) string { return "" }})
	return code, out.String(), errs.String()
}

func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	for _, c := range everyCommand() {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		code, out, errs := call(t, args...)
		if code != 0 || errs != "" {
			t.Errorf("%s --help: exit code %d, stderr %q", c.CommandPath(), code, errs)
		}
		if !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help shows no usage:\n%s", c.CommandPath(), out)
		}
	}
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, c := range everyCommand() {
		path := c.CommandPath()
		if c.Short == "" {
			t.Errorf("%s has no Short", path)
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: Short ends with a full stop: %q", path, c.Short)
		}
		if c.Runnable() && !c.HasSubCommands() && c.Long == "" && c.Example == "" {
			t.Errorf("%s has neither Long nor Example", path)
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len(line) > 100 {
				t.Errorf("%s: line of Long is longer than 100 columns: %q", path, line)
			}
		}
	}
}

// Every line of an Example that calls the tool must parse: a command that
// exists, with flags that it has.
func TestExamplesNameCommandsAndFlagsThatExist(t *testing.T) {
	t.Parallel()
	for _, c := range everyCommand() {
		for _, line := range strings.Split(c.Example, "\n") {
			words, ok := exampleWords(line)
			if !ok {
				continue
			}
			root := c.Root()
			found, rest, err := root.Find(words)
			if err != nil || found == root {
				t.Errorf("%s: example %q: no such command (%v)", c.CommandPath(), strings.TrimSpace(line), err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), strings.TrimSpace(line), err)
			}
		}
	}
}

// exampleWords is the arguments of the first pgrepctl on a line.
func exampleWords(line string) ([]string, bool) {
	line, _, _ = strings.Cut(line, "#")
	line = strings.ReplaceAll(line, "$(pgrepctl lab inventory)", "FILE")
	_, rest, ok := strings.Cut(line, "pgrepctl ")
	if !ok {
		return nil, false
	}
	for _, end := range []string{" && ", " | ", " > ", ")"} {
		rest, _, _ = strings.Cut(rest, end)
	}
	return strings.Fields(rest), true
}

func TestHelpTextsAreThoseOfTheGoldenFile(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i, c := range everyCommand() {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "== %s\n%s\n", c.UseLine(), c.Short)
		for _, text := range []string{c.Long, c.Example, strings.TrimRight(c.LocalNonPersistentFlags().FlagUsages(), "\n"), strings.TrimRight(c.PersistentFlags().FlagUsages(), "\n")} {
			if text != "" {
				b.WriteString("\n" + text + "\n")
			}
		}
	}
	golden(t, "testdata/help.txt", b.String())
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; run the tests with -update and read the change (-file +now):\n%s", file, diff)
	}
}
