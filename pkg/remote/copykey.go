package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// NewKey makes an ed25519 key pair in memory: the public half as one
// authorized_keys field pair, the private half as an OpenSSH PEM.
func NewKey() (public string, private secret.Value, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", secret.Value{}, fmt.Errorf("make an ssh key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		return "", secret.Value{}, fmt.Errorf("make an ssh key: %w", err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", secret.Value{}, fmt.Errorf("make an ssh key: %w", err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))), secret.New(string(pem.EncodeToMemory(block))), nil
}
