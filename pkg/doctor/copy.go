package doctor

import (
	"path"
	"slices"
	"strings"
)

// copyAuthorizedKeys: the key of the copy is only tried when the copy begins,
// and what sshd does not read looks like a key that it refuses.
func copyAuthorizedKeys(p pair) []found {
	m, up := p.upstream.f.Machine, p.upstream.inv.Name
	file := path.Join(m.LoginHome, ".ssh/authorized_keys")
	if !p.target() || p.standby.inv.Relay || m.KeyFiles == nil || slices.Contains(m.KeyFiles, file) {
		return nil
	}
	from := "nowhere"
	if len(m.KeyFiles) > 0 {
		from = strings.Join(m.KeyFiles, ", ")
	}
	return one("on "+up+": add .ssh/authorized_keys to AuthorizedKeysFile in its sshd_config, then reload sshd",
		"sshd of %s does not read %s: by AuthorizedKeysFile it reads keys of %s from %s", up, file, m.LoginUser, from)
}

// copySudo: the tool may have a password for sudo, the copy has none.
func copySudo(p pair) []found {
	m, up := p.upstream.f.Machine, p.upstream.inv
	if !p.target() || p.standby.inv.Relay || m.SudoRefusal == "" { // a relay logs in as the tool
		return nil
	}
	return one("on "+up.Name+": allow it in sudoers: "+m.LoginUser+" ALL=("+up.Postgres.OSUser+") NOPASSWD: "+m.Tools["rsync"],
		"sudo of %s does not let %s run rsync as %s without a password: %s", up.Name, m.LoginUser, up.Postgres.OSUser, m.SudoRefusal)
}

// copyShellTalks: the tool's own words are framed, those of rsync are not.
func copyShellTalks(p pair) []found {
	m, up := p.upstream.f.Machine, p.upstream.inv
	if !p.target() || p.standby.inv.Relay || m.ShellSays == "" {
		return nil
	}
	return one("on "+up.Name+": let the start files of that shell (~/.bashrc, say) print only where there is a terminal",
		"the shell of %s on %s prints %q before a command, and rsync cannot speak with it", m.LoginUser, up.Name, m.ShellSays)
}
