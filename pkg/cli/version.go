package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is what the build recorded: the tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, rev := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			rev = s.Value[:12]
		}
	}
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	if rev != "" {
		v += " " + rev
	}
	return v
}

// build is what `pgrepctl version` tells.
type build struct {
	Format  string `json:"format"`
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  pgrepctl version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := build{"pgrepctl.version/v1", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH}
			if a.set.Output() != "table" {
				return a.encode(b)
			}
			_, err := fmt.Fprintf(a.Out, "pgrepctl %s (%s, %s/%s)\n", b.Version, b.Go, b.OS, b.Arch)
			return err
		},
	}
}
