package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// readConfig is askSSH for a machine without an ssh program. It does not know
// Match, and says so rather than act on half of a configuration.
func readConfig(t Target) (values, error) {
	local, err := user.Current()
	if err != nil {
		return nil, err
	}
	ssh := filepath.Join(local.HomeDir, ".ssh")
	files := []string{filepath.Join(ssh, "config"), "/etc/ssh/ssh_config"}
	switch t.ConfigFile {
	case "":
	case "none":
		files = nil
	default:
		files = []string{t.ConfigFile}
	}
	v := values{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && t.ConfigFile == "" {
			continue
		}
		if err != nil {
			return nil, err
		}
		cfg, err := ssh_config.DecodeBytes(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := v.add(cfg, t.address()); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if v["identityfile"] == nil {
		for _, k := range defaultIdentities() {
			v["identityfile"] = append(v["identityfile"], filepath.Join(ssh, k))
		}
	}
	if v["userknownhostsfile"] == nil {
		v["userknownhostsfile"] = []string{filepath.Join(ssh, "known_hosts"), filepath.Join(ssh, "known_hosts2")}
	}
	if v["globalknownhostsfile"] == nil {
		v["globalknownhostsfile"] = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	return v, nil
}

// add keeps the first value of a keyword, as ssh does, and every IdentityFile
// and CertificateFile.
func (v values) add(cfg *ssh_config.Config, alias string) error {
	for _, key := range []string{
		"HostName", "Port", "User", "HostKeyAlias", "AddressFamily", "ProxyJump", "ProxyCommand",
		"ConnectTimeout", "IdentitiesOnly", "IdentityAgent", "UserKnownHostsFile", "GlobalKnownHostsFile",
	} {
		low := strings.ToLower(key)
		value, err := cfg.Get(alias, key)
		if err != nil {
			return err
		}
		if value != "" && v[low] == nil {
			v[low] = []string{value}
		}
	}
	for _, key := range []string{"IdentityFile", "CertificateFile"} {
		all, err := cfg.GetAll(alias, key)
		if err != nil {
			return err
		}
		v[strings.ToLower(key)] = append(v[strings.ToLower(key)], all...)
	}
	return nil
}
