package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// call runs the tool as a user would.
func (s *stage) call(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, s.bin, append([]string{"-i", s.inventory()}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(s.state, "runs"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgrepctl %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("pgrepctl %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}
