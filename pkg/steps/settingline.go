package steps

import (
	"context"
	"fmt"
	"path"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres/conf"
)

// settingLine is the line of a setting that counts, in the file that holds it.
type settingLine struct {
	value  string
	at     string // "/etc/postgresql/15/main/postgresql.conf:3", for messages
	before host.File
	set    func(value string) ([]byte, error)
}

// openSetting finds the line of a setting that counts: ALTER SYSTEM's file is read
// last. nil: there is none.
func openSetting(ctx context.Context, in In, h *facts.Host, name string) (*settingLine, error) {
	as := in.Self.Postgres.OSUser
	main, dir := h.Server.ConfigFile, h.Server.DataDirectory
	if !h.Server.Running {
		main, dir = path.Join(in.Self.Postgres.ConfigDirectory, "postgresql.conf"), in.Self.Postgres.DataDirectory
		f, err := h.File(ctx, as, main)
		if err != nil || !f.Exists {
			return nil, err
		}
	} else if settings, err := h.Settings(ctx); err != nil {
		return nil, err
	} else if x, ok := settings.Lookup(name); ok && x.Value != "" && x.Source != "configuration file" && x.Source != "default" {
		return nil, fault.Refuse(in.Self.Name, "set it in postgresql.conf instead, then type the same command again",
			fmt.Errorf("%s comes from the %s, which cannot be edited", name, x.Source))
	}
	auto, err := h.File(ctx, as, path.Join(dir, "postgresql.auto.conf"))
	if err != nil {
		return nil, err
	}
	if l := lineOf(auto, name); l != nil {
		return l, nil
	}
	tree, before, err := loadTree(ctx, h, as, main)
	if err != nil {
		return nil, err
	}
	value, file, line, ok := tree.Get(name)
	if !ok {
		return nil, nil
	}
	return &settingLine{value: value, at: fmt.Sprintf("%s:%d", file, line), before: before[file], set: func(v string) ([]byte, error) {
		changed, err := tree.Set(name, v)
		if err != nil || len(changed) == 0 {
			return before[file].Data, err
		}
		return changed[0].Data, nil
	}}, nil
}

// lineOf is the line in a file that includes no other, nil when there is none.
func lineOf(f host.File, name string) *settingLine {
	parsed := conf.Parse(f.Data)
	x, ok := parsed.Get(name)
	if !ok {
		return nil
	}
	return &settingLine{value: x.Value, at: fmt.Sprintf("%s:%d", f.Path, x.Line), before: f, set: func(v string) ([]byte, error) {
		err := parsed.Set(name, v)
		return parsed.Bytes(), err
	}}
}
