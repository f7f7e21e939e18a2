package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKeys is how many keys are offered: a server with MaxAuthTries 6 (the
// default) ends the connection at the sixth failure.
const maxKeys = 5

func defaultIdentities() []string {
	return []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"}
}

// keyring gathers the keys to offer.
type keyring struct {
	signers []ssh.Signer
	// skipped says, for a person, which keys could not be offered and why.
	skipped []string
	agent   net.Conn
}

func (k *keyring) Close() error {
	if k.agent == nil {
		return nil
	}
	return k.agent.Close()
}

// add appends signers that are not there yet.
func (k *keyring) add(signers ...ssh.Signer) {
	for _, s := range signers {
		blob := s.PublicKey().Marshal()
		if !slices.ContainsFunc(k.signers, func(o ssh.Signer) bool { return bytes.Equal(o.PublicKey().Marshal(), blob) }) {
			k.signers = append(k.signers, s)
		}
	}
}

// methods is one method only: of two public key methods, x/crypto never tries
// the second.
func (k *keyring) methods() []ssh.AuthMethod {
	if len(k.signers) > maxKeys {
		for _, s := range k.signers[maxKeys:] {
			k.skipped = append(k.skipped, fmt.Sprintf("%s %s was not tried: %d keys are the limit", s.PublicKey().Type(), ssh.FingerprintSHA256(s.PublicKey()), maxKeys))
		}
		k.signers = k.signers[:maxKeys]
	}
	return []ssh.AuthMethod{ssh.PublicKeys(k.signers...)}
}

// offered names the keys for an error.
func (k *keyring) offered() string {
	var out []string
	for _, s := range k.signers {
		out = append(out, s.PublicKey().Type()+" "+ssh.FingerprintSHA256(s.PublicKey()))
	}
	if len(out) == 0 {
		return "no key"
	}
	return strings.Join(out, ", ")
}

// newKeyring orders keys as ssh does: configured files first (through the
// agent where it holds them), then the agent's other keys, then the default
// files. explicit files come from the inventory and must be readable.
func newKeyring(ctx context.Context, s settings, explicit int) (*keyring, error) {
	k := &keyring{}
	held, err := k.openAgent(ctx, s.agent)
	if err != nil {
		k.skipped = append(k.skipped, err.Error())
	}
	var certs []*ssh.Certificate
	for _, file := range s.certificates {
		if c := k.certificate(file); c != nil {
			certs = append(certs, c)
		}
	}
	var late []ssh.Signer
	for i, file := range s.identities {
		signer, err := loadIdentity(file, held)
		switch {
		case err == nil:
		case i < explicit:
			return nil, errors.Join(err, k.Close())
		case errors.Is(err, fs.ErrNotExist):
			continue
		default:
			k.skipped = append(k.skipped, err.Error())
			continue
		}
		group := k.withCertificates(signer, file, certs)
		if i >= explicit && isDefaultIdentity(file) {
			late = append(late, group...)
			continue
		}
		k.add(group...)
	}
	if !s.identitiesOnly {
		for _, h := range held {
			k.add(append(certified(h, certs), h)...)
		}
	}
	k.add(late...)
	return k, nil
}

func isDefaultIdentity(file string) bool {
	return filepath.Base(filepath.Dir(file)) == ".ssh" && slices.Contains(defaultIdentities(), filepath.Base(file))
}

func (k *keyring) openAgent(ctx context.Context, socket string) ([]ssh.Signer, error) {
	if socket == "" {
		return nil, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	k.agent = conn
	// An agent that waits for a person must not hold up ctx's end.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	return signers, nil
}

// loadIdentity reads a private key file. An encrypted one, or one of which
// only the public half is here, is used through the agent.
func loadIdentity(file string, held []ssh.Signer) (ssh.Signer, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if pub := publicHalf(file); pub != nil {
			if s := find(held, pub); s != nil {
				return s, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read identity file: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		pub := locked.PublicKey
		if pub == nil {
			pub = publicHalf(file)
		}
		if pub != nil {
			if s := find(held, pub); s != nil {
				return s, nil
			}
		}
		return nil, &lockedKeyError{file: file}
	}
	if err != nil {
		if pub, _, _, _, perr := ssh.ParseAuthorizedKey(data); perr == nil {
			if s := find(held, pub); s != nil {
				return s, nil
			}
		}
		return nil, fmt.Errorf("read identity file %s: %w", file, err)
	}
	return signer, nil
}

// lockedKeyError is a key with a passphrase that no agent holds.
type lockedKeyError struct{ file string }

func (e *lockedKeyError) Error() string {
	return e.file + " is encrypted and no ssh agent holds its key"
}

func (e *lockedKeyError) hint() string { return "ssh-add " + e.file }

func publicHalf(file string) ssh.PublicKey {
	data, err := os.ReadFile(file + ".pub")
	if err != nil {
		return nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return pub
}

func find(signers []ssh.Signer, pub ssh.PublicKey) ssh.Signer {
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), pub.Marshal()) {
			return s
		}
	}
	return nil
}

// withCertificates puts the certificates for a key before the key itself.
func (k *keyring) withCertificates(s ssh.Signer, file string, certs []*ssh.Certificate) []ssh.Signer {
	if c := k.certificate(file + "-cert.pub"); c != nil {
		certs = append(slices.Clone(certs), c)
	}
	return append(certified(s, certs), s)
}

// certificate reads a user certificate; nil if there is none.
func (k *keyring) certificate(file string) *ssh.Certificate {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	cert, ok := pub.(*ssh.Certificate)
	if err != nil || !ok {
		k.skipped = append(k.skipped, file+" is not a certificate")
		return nil
	}
	return cert
}

func certified(s ssh.Signer, certs []*ssh.Certificate) []ssh.Signer {
	var out []ssh.Signer
	for _, c := range certs {
		if cs, err := ssh.NewCertSigner(c, s); err == nil {
			out = append(out, cs)
		}
	}
	return out
}
