package remotetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// Key is a key pair, in a file too.
type Key struct {
	File   string // private key; File+".pub" is the public one
	Signer ssh.Signer
	Raw    ed25519.PrivateKey
}

// NewKey makes an ed25519 key.
func NewKey(t testing.TB) Key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "remotetest")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_test")
	WriteFile(t, file, pem.EncodeToMemory(block))
	WriteFile(t, file+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()))
	return Key{File: file, Signer: signer, Raw: private}
}

// WriteFile writes a file with mode 0600.
func WriteFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// KnownHosts writes a known_hosts file with one line.
func KnownHosts(t testing.TB, address string, port int, key ssh.PublicKey) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	WriteFile(t, file, []byte(KnownHostsLine(address, port, key)+"\n"))
	return file
}

// KnownHostsLine is what ssh would record for a host.
func KnownHostsLine(address string, port int, key ssh.PublicKey) string {
	return knownhosts.Line([]string{net.JoinHostPort(address, strconv.Itoa(port))}, key)
}
