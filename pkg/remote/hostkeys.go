package remote

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// hostKeys verifies the host key of one hop.
type hostKeys struct {
	// name is the hop in known_hosts' terms, host:port.
	name string
	// algorithms to offer, best first. SHA-1 signatures are never offered.
	algorithms []string
	// families are algorithms to offer one after the other, each on a
	// connection of its own, until check is content: a pinned fingerprint does
	// not tell its type.
	families [][]string
	check    ssh.HostKeyCallback
	warnings []string
}

// plainAlgorithms is the order for a host nothing is known about: the key
// whose fingerprint people compare comes first.
func plainAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

func certAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// newHostKeys reads the known_hosts files that exist, or takes the pinned key.
func newHostKeys(s settings, pinned string, files *knownFiles) (*hostKeys, error) {
	name := s.addr()
	if s.alias != "" {
		// ssh takes HostKeyAlias as it stands, without the port.
		name = net.JoinHostPort(s.alias, "22")
	}
	if pinned != "" {
		return pinnedKeys(name, pinned)
	}
	read, err := files.load(s.knownHosts)
	if err != nil {
		return nil, err
	}
	db, origin := read.db, read.origin
	k := &hostKeys{name: name, warnings: read.warnings}
	known := db.HostKeys(name)
	if host, port, err := net.SplitHostPort(name); err == nil && port != "22" && len(known) == 0 {
		// As ssh does: a name without port is looked up when the name with
		// its port is not recorded.
		if plain := net.JoinHostPort(host, "22"); len(db.HostKeys(plain)) > 0 {
			k.name, known = plain, db.HostKeys(plain)
		}
	}
	k.algorithms = knownAlgorithms(known)
	verify := db.HostKeyCallback()
	k.check = func(_ string, remote net.Addr, key ssh.PublicKey) error {
		// Behind a jump host the remote address is 0.0.0.0:0; only the name
		// that was dialed counts.
		err := verify(k.name, &net.TCPAddr{IP: net.IPv4zero}, key)
		return explainHostKey(err, k.name, key, s, origin)
	}
	return k, nil
}

// knownAlgorithms asks for the key types that are recorded: a server with
// several keys would else present one that is not. A certificate's type is the
// host key's, not its authority's, so any authority allows all of them.
func knownAlgorithms(known []knownhosts.PublicKey) []string {
	if len(known) == 0 {
		return plainAlgorithms()
	}
	var algos []string
	if slices.ContainsFunc(known, func(k knownhosts.PublicKey) bool { return k.Cert }) {
		algos = certAlgorithms()
	}
	for _, k := range known {
		if k.Cert {
			continue
		}
		for _, a := range signatureAlgorithms(k.Type()) {
			if !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	return algos
}

func signatureAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}

// pinnedKeys accepts one key: a public key line, or a SHA256 fingerprint.
func pinnedKeys(name, pinned string) (*hostKeys, error) {
	if strings.HasPrefix(pinned, "SHA256:") {
		return &hostKeys{
			name: name,
			families: [][]string{
				{ssh.KeyAlgoED25519},
				{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521},
				{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
			},
			check: func(_ string, _ net.Addr, key ssh.PublicKey) error {
				if got := ssh.FingerprintSHA256(key); got != pinned {
					return &changedKeyError{name: name, got: key, pinned: pinned}
				}
				return nil
			},
		}, nil
	}
	want, _, _, _, err := ssh.ParseAuthorizedKey([]byte(pinned))
	if err != nil {
		return nil, fmt.Errorf("parse pinned host key: %w", err)
	}
	return &hostKeys{
		name: name, algorithms: signatureAlgorithms(want.Type()),
		check: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			if !bytes.Equal(key.Marshal(), want.Marshal()) {
				return &changedKeyError{name: name, got: key, pinned: ssh.FingerprintSHA256(want)}
			}
			return nil
		},
	}, nil
}

// loadKnownHosts skips files that are missing and lines that are corrupt:
// x/crypto refuses everything for either. origin maps the name of a copy that
// had to be read instead of a file back to the file.
func loadKnownHosts(files []string) (_ *knownhosts.HostKeyDB, origin map[string]string, warnings []string, err error) {
	dir, err := os.MkdirTemp("", "pgrepctl-known-hosts-")
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read known hosts: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	origin = map[string]string{}
	var good []string
	for i, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s is not read: %v", file, errors.Unwrap(err)))
			continue
		}
		if _, err := xknownhosts.New(file); err == nil {
			good = append(good, file)
			continue
		}
		cleaned, bad, err := dropCorruptLines(dir, data)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, line := range bad {
			warnings = append(warnings, fmt.Sprintf("%s:%d is not a valid known_hosts line and is skipped", file, line))
		}
		duplicate := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(duplicate, cleaned, 0o600); err != nil {
			return nil, nil, nil, fmt.Errorf("read known hosts: %w", err)
		}
		origin[duplicate] = file
		good = append(good, duplicate)
	}
	db, err := knownhosts.NewDB(good...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read known hosts: %w", err)
	}
	return db, origin, warnings, nil
}

// dropCorruptLines empties the lines that x/crypto cannot parse, so that the
// numbers of the others stay. It asks x/crypto about each line by itself:
// another parser would accept other lines.
func dropCorruptLines(dir string, data []byte) (cleaned []byte, bad []int, err error) {
	probe := filepath.Join(dir, "line")
	lines := bytes.Split(data, []byte("\n"))
	for i, line := range lines {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := os.WriteFile(probe, line, 0o600); err != nil {
			return nil, nil, fmt.Errorf("read known hosts: %w", err)
		}
		if _, err := xknownhosts.New(probe); err != nil || len(line) >= bufio.MaxScanTokenSize {
			bad = append(bad, i+1)
			lines[i] = nil
		}
	}
	return bytes.Join(lines, []byte("\n")), bad, nil
}
