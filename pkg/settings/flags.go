package settings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags defines one flag a key, of those that every command has.
func AddFlags(fs *pflag.FlagSet) { AddCommandFlags(fs, "") }

// AddCommandFlags defines the flags of the keys that belong to one command.
func AddCommandFlags(fs *pflag.FlagSet, command string) {
	for _, k := range Keys() {
		if k.Command != command {
			continue
		}
		f := fs.VarPF(&flagValue{key: k, text: k.Default}, k.Name, k.Letter, k.Doc)
		switch k.Kind {
		case Bool:
			f.NoOptDefVal = "true"
		case Count:
			f.NoOptDefVal = increment
		}
	}
}

// increment is what a count flag gets when it is given without a value.
const increment = "+1"

// flagValue is a pflag.Value that obeys the same rules as the key in a file, so
// that a wrong value on the command line is a usage error.
type flagValue struct {
	key  Key
	text string
}

func (v *flagValue) String() string { return v.text }

func (v *flagValue) Set(text string) error {
	if v.key.Kind == Count && text == increment {
		n, err := strconv.Atoi(v.text)
		if err != nil {
			return fmt.Errorf("count %q: %w", v.text, err)
		}
		text = strconv.Itoa(n + 1)
	}
	parsed, err := v.key.parse(text)
	if err != nil {
		return err
	}
	if v.text = fmt.Sprint(parsed); v.key.Kind == Size {
		v.text = text
	}
	return nil
}

// Type is read by pflag for usage texts and by viper for its casts.
func (v *flagValue) Type() string {
	switch v.key.Kind {
	case Bool:
		return "bool"
	case Count:
		return "count"
	case Number:
		return "int"
	case Size:
		return "size"
	case Duration:
		return "duration"
	case Choice:
		return strings.Join(v.key.Choices, "|")
	default:
		return "string"
	}
}
