package postgres

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// SCRAMIterations is the iteration count of the servers' own verifiers
// (scram_iterations, 16 and later; fixed before).
const SCRAMIterations = 4096

// SCRAMSaltLen is the salt length in bytes of the servers' own verifiers.
const SCRAMSaltLen = 16

const scramPrefix = "SCRAM-SHA-256$"

// SCRAMVerifier is what a server of 10 or later keeps for a password and takes
// in ALTER ROLE … PASSWORD, so that the password itself is never sent:
// SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key> (RFC 5803, RFC
// 7677). The salt must be random, SCRAMSaltLen bytes.
//
// Do not send it to a server below 10: see Version.PasswordHash.
func SCRAMVerifier(password secret.Value, salt []byte, iterations int) (string, error) {
	switch {
	case password.IsZero():
		return "", fmt.Errorf("compute scram verifier: password: %w", ErrEmpty)
	case strings.IndexByte(password.Reveal(), 0) >= 0:
		return "", fmt.Errorf("compute scram verifier: password: %w", ErrNUL)
	case len(salt) == 0:
		return "", fmt.Errorf("compute scram verifier: salt: %w", ErrEmpty)
	case iterations < 1:
		return "", errors.New("compute scram verifier: fewer than one iteration")
	}
	stored, server, err := scramKeys(password.Reveal(), salt, iterations)
	if err != nil {
		return "", fmt.Errorf("compute scram verifier: %w", err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s%d:%s$%s:%s", scramPrefix, iterations, b64(salt), b64(stored), b64(server)), nil
}

func scramKeys(password string, salt []byte, iterations int) (stored, server []byte, err error) {
	salted, err := pbkdf2.Key(sha256.New, normalizePassword(password), salt, iterations, sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	s := sha256.Sum256(mac("Client Key"))
	return s[:], mac("Server Key"), nil
}

// normalizePassword prepares a password as server and libpq do: SASLprep, and
// the raw bytes where SASLprep refuses them (pg_be_scram_build_secret).
func normalizePassword(password string) string {
	if prepared, ok := saslPrep(password); ok {
		return prepared
	}
	return password
}

// MD5Verifier is what a server keeps for a password under password_encryption
// md5. It is as good as the password to anyone who can read it.
func MD5Verifier(user string, password secret.Value) string {
	sum := md5.Sum([]byte(password.Reveal() + user))
	return "md5" + hex.EncodeToString(sum[:])
}

// VerifierKind tells how a rolpassword was made; ok is false for anything that
// is no verifier.
func VerifierKind(verifier string) (kind HashKind, ok bool) {
	if _, err := parseSCRAM(verifier); err == nil {
		return SCRAMSHA256, true
	}
	if h, found := strings.CutPrefix(verifier, "md5"); found && len(h) == 32 && strings.Trim(h, "0123456789abcdef") == "" {
		return MD5, true
	}
	return "", false
}

// VerifierMatches reports whether a rolpassword of either kind was made from
// this password. The empty password matches nothing: servers refuse it.
func VerifierMatches(verifier, user string, password secret.Value) bool {
	if password.IsZero() {
		return false
	}
	kind, _ := VerifierKind(verifier)
	switch kind {
	case MD5:
		return subtle.ConstantTimeCompare([]byte(MD5Verifier(user, password)), []byte(verifier)) == 1
	case SCRAMSHA256:
		p, err := parseSCRAM(verifier)
		if err != nil {
			return false
		}
		stored, server, err := scramKeys(password.Reveal(), p.salt, p.iterations)
		return err == nil &&
			subtle.ConstantTimeCompare(stored, p.stored)&subtle.ConstantTimeCompare(server, p.server) == 1
	}
	return false
}

type scram struct {
	iterations           int
	salt, stored, server []byte
}

var errVerifier = errors.New("not a scram verifier")

func parseSCRAM(s string) (scram, error) {
	s, ok := strings.CutPrefix(s, scramPrefix)
	head, keys, ok2 := strings.Cut(s, "$")
	count, salt, ok3 := strings.Cut(head, ":")
	stored, server, ok4 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 || !ok4 {
		return scram{}, errVerifier
	}
	var p scram
	var err [4]error
	p.iterations, err[0] = strconv.Atoi(count)
	p.salt, err[1] = base64.StdEncoding.DecodeString(salt)
	p.stored, err[2] = base64.StdEncoding.DecodeString(stored)
	p.server, err[3] = base64.StdEncoding.DecodeString(server)
	if errors.Join(err[:]...) != nil || p.iterations < 1 || len(p.salt) == 0 ||
		len(p.stored) != sha256.Size || len(p.server) != sha256.Size {
		return scram{}, errVerifier
	}
	return p, nil
}
