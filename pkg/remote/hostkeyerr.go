package remote

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/skeema/knownhosts"
)

// unknownKeyError is a host that no known_hosts file names.
type unknownKeyError struct {
	name  string // host:port
	got   ssh.PublicKey
	files []string
	// direct: it was reached by its name, neither through another host nor by a proxy.
	direct bool
}

func (e *unknownKeyError) Error() string {
	return fmt.Sprintf("host key of %s is not known: %s %s", knownhosts.Normalize(e.name), e.got.Type(), ssh.FingerprintSHA256(e.got))
}

// hint gives the commands that record the key. Only a comparison on the host
// itself makes it trustworthy, so the fingerprint comes first. ssh-keyscan goes by no
// proxy and no jump host, so there the key that was shown is written down.
func (e *unknownKeyError) hint() string {
	host, port, err := net.SplitHostPort(e.name)
	if err != nil {
		return ""
	}
	file := "~/.ssh/known_hosts"
	if len(e.files) > 0 {
		file = e.files[0]
	}
	key := e.got
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	kind, record := keyscanType(key.Type()), fmt.Sprintf("echo '%s'", knownhosts.Line([]string{e.name}, key))
	if e.direct {
		record = "ssh-keyscan -t " + kind
		if port != "22" {
			record += " -p " + port
		}
		record += " " + host
	}
	return fmt.Sprintf("compare the fingerprint with `ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub` on the host; if it is the same (`ssh-keygen -F '%s' -f %s` finds it afterwards): %s >> %s",
		kind, knownhosts.Normalize(e.name), file, record, file)
}

func keyscanType(keyType string) string {
	switch {
	case strings.Contains(keyType, "ed25519"):
		return "ed25519"
	case strings.Contains(keyType, "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}

// changedKeyError is a host whose key is another than the recorded one.
type changedKeyError struct {
	name   string
	got    ssh.PublicKey
	pinned string                 // fingerprint, when the inventory pins it
	want   []xknownhosts.KnownKey // else
}

func (e *changedKeyError) Error() string {
	got := e.got.Type() + " " + ssh.FingerprintSHA256(e.got)
	if e.pinned != "" {
		return fmt.Sprintf("host key of %s is not the pinned one: the server has %s, pinned is %s", knownhosts.Normalize(e.name), got, e.pinned)
	}
	var want []string
	for _, k := range e.want {
		want = append(want, fmt.Sprintf("%s %s (%s:%d)", k.Key.Type(), ssh.FingerprintSHA256(k.Key), k.Filename, k.Line))
	}
	return fmt.Sprintf("host key of %s has changed: the server has %s, recorded is %s", knownhosts.Normalize(e.name), got, strings.Join(want, ", "))
}

func (e *changedKeyError) hint() string {
	const first = "someone may be listening in, or the host was installed anew; find out which. "
	if e.pinned != "" {
		return first + "If the new key is right, change host_key in the inventory"
	}
	return fmt.Sprintf("%sIf the new key is right: ssh-keygen -R '%s' -f %s", first, knownhosts.Normalize(e.name), e.want[0].Filename)
}

// explainHostKey turns x/crypto's answer into one of the errors above.
func explainHostKey(err error, name string, got ssh.PublicKey, s settings, origin map[string]string) error {
	var key *xknownhosts.KeyError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &key):
		return err // revoked, or a certificate that is expired or for another name
	case len(key.Want) == 0:
		return &unknownKeyError{name: name, got: got, files: s.knownHosts, direct: s.direct()}
	}
	want := slices.Clone(key.Want)
	for i := range want {
		if file, ok := origin[want[i].Filename]; ok {
			want[i].Filename = file
		}
	}
	slices.SortFunc(want, func(a, b xknownhosts.KnownKey) int {
		if a.Filename != b.Filename {
			return strings.Compare(a.Filename, b.Filename)
		}
		return a.Line - b.Line
	})
	return &changedKeyError{name: name, got: got, want: want}
}
