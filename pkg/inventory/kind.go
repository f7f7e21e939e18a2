package inventory

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
)

type clusterName struct{}

func (clusterName) form() form {
	return form{
		Label:   "cluster name",
		Want:    "letters, digits, _ . and -, first and last a letter or digit",
		Pattern: `^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$`,
		MaxLen:  63,
		JSON:    []string{"string", "integer"},
	}
}

type hostName struct{}

func (hostName) form() form {
	f := clusterName{}.form()
	f.Label = "host name"
	return f
}

type address struct{}

func (address) form() form {
	return form{
		Label:   "address",
		Want:    "a host name or an IP address",
		Pattern: `^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$`,
		more: func(text string) (string, string) {
			_, err := netip.ParseAddr(text)
			switch {
			case strings.Contains(text, "@"):
				return "an address has no user", "give ssh.user"
			case strings.ContainsAny(text, "[]") || err != nil && strings.Contains(text, ":"):
				return fmt.Sprintf("%q is not a valid address", text),
					"no brackets and no port: ports are postgres.port and ssh.port"
			case err != nil && strings.Trim(text, "0123456789.") == "":
				return fmt.Sprintf("%q is not a valid IP address", text), ""
			}
			return "", ""
		},
	}
}

type role struct{}

func (role) form() form {
	return form{Label: "role", Enum: []string{string(Primary), string(Standby)}}
}

type copyWay struct{}

func (copyWay) form() form {
	return form{Label: "way of a copy", Enum: []string{copyDirect, copyRelay}}
}

type streams struct{}

func (streams) form() form {
	return form{Label: "number of streams", Want: "auto, or a number from 1 to 4", Pattern: `^(auto|[1-4])$`, JSON: []string{"string", "integer"}}
}

type compression struct{}

func (compression) form() form {
	return form{Label: "compression", Enum: []string{"auto", "zstd", "none"}}
}

type copyRate struct{}

func (copyRate) form() form {
	return form{Label: "rate", Want: "bytes a second with kB, MB or GB, such as 50MB, or none", Pattern: `^(none|[1-9][0-9]{0,8}(kB|MB|GB))$`}
}

type commitLimit struct{}

func (commitLimit) form() form {
	return form{Label: "limit", Want: "a time in us, ms or s, such as 20ms, auto or none", Pattern: `^(auto|none|[1-9][0-9]{0,5}(us|ms|s))$`}
}

type duration struct{}

func (duration) form() form {
	return form{
		Label:   "duration",
		Want:    "a number and a unit as in postgresql.conf: us, ms, s, min, h or d, for example 2h or 30min",
		Pattern: `^[0-9]+(\.[0-9]+)? ?(us|ms|s|min|h|d)$`,
		MaxLen:  32,
		more: func(text string) (string, string) {
			if strings.HasSuffix(text, "m") && strings.Trim(text[:len(text)-1], "0123456789. ") == "" {
				return fmt.Sprintf("%q is not a valid duration", text), "did you mean min?"
			}
			return "", ""
		},
	}
}

type version struct{}

func (version) form() form {
	return form{
		Label:   "major version",
		Want:    "9.4, 9.5, 9.6, or 10 to 18",
		Pattern: `^(9\.[456]|1[0-8])$`,
		JSON:    []string{"string", "number"},
		more: func(text string) (string, string) {
			const known = "9.4 is the oldest, 18 the newest"
			major, rest, minor := strings.Cut(text, ".")
			second, _, _ := strings.Cut(rest, ".")
			n, err := strconv.Atoi(major)
			switch {
			case err != nil || text == "9."+second && slices.Contains([]string{"4", "5", "6"}, second):
			case n < 9 || n == 9 && slices.Contains([]string{"0", "1", "2", "3"}, second):
				// Replication slots are new in 9.4.
				return fmt.Sprintf("version %s is not supported", text), known
			case n > 18:
				return fmt.Sprintf("version %s is not known to this pgrepctl", text), known
			case n == 9 && slices.Contains([]string{"4", "5", "6"}, second):
				return fmt.Sprintf("%q is not a major version", text), "write 9." + second
			case n == 9:
				return fmt.Sprintf("%q is not a major version", text), "write 9.4, 9.5 or 9.6"
			case n >= 10 && minor:
				return fmt.Sprintf("%q is not a major version", text), "write " + major
			}
			return "", ""
		},
	}
}

type absPath struct{}

func (absPath) form() form {
	return form{
		Label:   "path",
		Want:    "an absolute path without . and ..",
		Pattern: `^/[^\x00-\x1f\x7f]*$`,
		MaxLen:  1023,
		more:    pathFlaw,
	}
}

// pathFlaw refuses paths that mean another place than they seem to: a copy or
// a removal below such a path would go there too.
func pathFlaw(text string) (string, string) {
	rest := strings.TrimPrefix(text, "~")
	switch {
	case !strings.HasPrefix(rest, "/"):
		return fmt.Sprintf("%q is a relative path", text), "write the absolute path"
	case rest == "/":
		return fmt.Sprintf("%q is not a path to use", text), ""
	case strings.Contains(rest+"/", "/../"), strings.Contains(rest+"/", "/./"):
		return fmt.Sprintf("%q has . or .. in it", text), "write " + strings.TrimSuffix(text, rest) + path.Clean(rest)
	}
	return "", ""
}

type localPath struct{}

func (localPath) form() form {
	return form{
		Label:   "path",
		Want:    "an absolute path, or one that begins with ~/",
		Pattern: `^~?/[^\x00-\x1f\x7f]*$`,
		MaxLen:  1023,
		more:    pathFlaw,
	}
}

type port struct{}

func (port) form() form {
	return form{
		Label:   "port",
		Want:    "a number from 1 to 65535",
		Pattern: `^[1-9][0-9]{0,4}$`,
		JSON:    []string{"string", "integer"},
		more: func(text string) (string, string) {
			if n, err := strconv.Atoi(text); err == nil && n > 65535 {
				return fmt.Sprintf("%q is not a valid port", text), "a number from 1 to 65535"
			}
			return "", ""
		},
	}
}

type osUser struct{}

func (osUser) form() form {
	return form{
		Label:   "user name",
		Want:    "letters, digits, _ . and -, first a letter or _",
		Pattern: `^[A-Za-z_][A-Za-z0-9_.-]*\$?$`,
		MaxLen:  32,
		more: func(text string) (string, string) {
			if text == "root" {
				// postgres and initdb refuse to run as root.
				return "PostgreSQL does not run as root", ""
			}
			return "", ""
		},
	}
}

type loginUser struct{}

func (loginUser) form() form {
	return form{
		Label:   "user name",
		Want:    `letters, digits, _ . - @ and \, first a letter, digit or _`,
		Pattern: `^[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?$`,
		JSON:    []string{"string", "integer"},
	}
}

type roleName struct{}

func (roleName) form() form {
	return form{
		Label:   "role name",
		Want:    "letters, digits, _ - . @ and $, first a letter or _",
		Pattern: `^[A-Za-z_][A-Za-z0-9_.@$-]*$`,
		MaxLen:  63, // NAMEDATALEN - 1
		more: func(text string) (string, string) {
			switch strings.ToLower(text) {
			case "public", "none", "all", "current_user", "current_role", "session_user":
				return fmt.Sprintf("%s is a keyword of PostgreSQL or of pg_hba.conf", text), ""
			}
			if strings.HasPrefix(text, "pg_") {
				return "names that begin with pg_ belong to PostgreSQL", "" // since 9.6
			}
			return "", ""
		},
	}
}

type slotName struct{}

func (slotName) form() form {
	return form{
		Label:   "slot name",
		Want:    "lower-case letters, digits and _",
		Pattern: `^[a-z0-9_]+$`,
		MaxLen:  63,
		JSON:    []string{"string", "integer"},
	}
}

type serviceKind struct{}

func (serviceKind) form() form {
	return form{
		Label: "kind of service",
		Enum:  []string{ServicePgCtlCluster, ServiceSystemd, ServicePgCtl, ServiceCommand},
	}
}

type serviceName struct{}

func (serviceName) form() form {
	return form{
		Label:   "service name",
		Want:    "letters, digits and : _ . @ -, first a letter or digit",
		Pattern: `^[A-Za-z0-9][A-Za-z0-9:_.@\\-]*$`,
		JSON:    []string{"string", "integer"},
	}
}

type argument struct{}

func (argument) form() form {
	return form{
		Label: "argument", Want: "text in one line", MaxLen: 4096, Empty: true,
		JSON: []string{"string", "number", "boolean"},
	}
}

type settingName struct{}

func (settingName) form() form {
	return form{
		Label:   "setting name",
		Want:    "as in postgresql.conf",
		Pattern: `^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*$`,
		MaxLen:  127,
	}
}

type settingValue struct{}

func (settingValue) form() form {
	return form{
		Label: "setting value", Want: "text in one line", MaxLen: 4096, Empty: true,
		JSON: []string{"string", "number", "boolean"},
	}
}

type minimum struct{}

func (minimum) form() form {
	return form{
		Label:   "minimum",
		Want:    "a number, with a unit of postgresql.conf if the setting has one: 10, 1GB, 30min",
		Pattern: `^[0-9]+(\.[0-9]+)? ?(B|kB|MB|GB|TB|us|ms|s|min|h|d)?$`,
		JSON:    []string{"string", "number"},
	}
}

type boolean struct{}

func (boolean) form() form {
	return form{Label: "boolean", Enum: []string{"true", "false"}, JSON: []string{"string", "boolean"}}
}

type sslMode struct{}

func (sslMode) form() form {
	return form{
		Label: "sslmode",
		Enum:  []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
	}
}

type binding struct{}

func (binding) form() form {
	return form{Label: "channel binding", Enum: []string{"prefer", BindingRequire}}
}

// systemRoots is the sslrootcert of libpq 16 for the system's own CAs.
const systemRoots = "system"

type rootCert struct{}

func (rootCert) form() form {
	f := absPath{}.form()
	f.Want = "an absolute path, or system"
	f.Pattern = `^(system|/[^\x00-\x1f\x7f]*)$`
	f.more = func(text string) (string, string) {
		if text == systemRoots {
			return "", ""
		}
		return pathFlaw(text)
	}
	return f
}

type become struct{}

func (become) form() form {
	return form{Label: "way to become another user", Enum: []string{BecomeSudo, BecomeNone}}
}

type jump struct{}

func (jump) form() form {
	const hop = `([A-Za-z0-9_][A-Za-z0-9_.@\\-]*@)?([A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?`
	return form{
		Label:   "jump host",
		Want:    "[user@]host[:port], several with commas and no spaces, IPv6 addresses in brackets, or none",
		Pattern: `^` + hop + `(,` + hop + `)*$`,
		MaxLen:  1023,
	}
}

// jumpNone turns a jump host off, as in ssh_config.
const jumpNone = "none"

type hostKey struct{}

func (hostKey) form() form {
	return form{
		Label:   "host key",
		Want:    `type and base64 as in known_hosts ("ssh-ed25519 AAAA…"), or SHA256:… as ssh-keygen -lf shows it`,
		Pattern: `^(SHA256:[A-Za-z0-9+/]{43}|(ssh|ecdsa|sk|rsa)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+={0,2})$`,
		MaxLen:  4096,
	}
}

type envName struct{}

func (envName) form() form {
	return form{
		Label:   "variable name",
		Want:    "letters, digits and _, first no digit",
		Pattern: `^[A-Za-z_][A-Za-z0-9_]*$`,
	}
}

type labelName struct{}

func (labelName) form() form {
	return form{
		Label:   "label name",
		Want:    "letters, digits, _ . / and -, first a letter or digit",
		Pattern: `^[A-Za-z0-9][A-Za-z0-9_./-]*$`,
	}
}

type labelText struct{}

func (labelText) form() form {
	return form{
		Label: "label", Want: "text in one line", Empty: true,
		JSON: []string{"string", "number", "boolean"},
	}
}

type trafficName struct{}

func (trafficName) form() form {
	return form{
		Label:   "traffic name",
		Want:    "letters, digits and _ . : / -",
		Pattern: `^[A-Za-z0-9_.:/-]+$`,
		JSON:    []string{"string", "integer"},
	}
}
