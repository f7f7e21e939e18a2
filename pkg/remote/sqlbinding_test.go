package remote_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/remote/remotetest"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// ed25519Certificate has a signature that names no hash.
func ed25519Certificate(t *testing.T) tls.Certificate {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, made, made, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// upstream asks one client for a login, with TLS, and returns what it has answered: the
// mechanism that it has chosen, "a password", or nothing. No login goes on from there.
func upstream(t *testing.T, ask pgproto3.BackendMessage) (port int, answered <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	config := &tls.Config{Certificates: []tls.Certificate{ed25519Certificate(t)}}
	out := make(chan string, 1)
	go func() {
		got, err := served(l, config, ask)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			got = err.Error()
		}
		out <- got
	}()
	return l.Addr().(*net.TCPAddr).Port, out
}

func served(l net.Listener, config *tls.Config, ask pgproto3.BackendMessage) (string, error) {
	c, err := l.Accept()
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if _, err := pgproto3.NewBackend(c, c).ReceiveStartupMessage(); err != nil { // SSLRequest
		return "", err
	}
	if _, err := c.Write([]byte("S")); err != nil {
		return "", err
	}
	over := tls.Server(c, config)
	b := pgproto3.NewBackend(over, over)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return "", err
	}
	b.Send(ask)
	if _, sasl := ask.(*pgproto3.AuthenticationSASL); sasl {
		err = b.SetAuthType(pgproto3.AuthTypeSASL)
	} else {
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	}
	if err = errors.Join(err, b.Flush()); err != nil {
		return "", err
	}
	m, err := b.Receive()
	if err != nil {
		return "", err
	}
	if first, ok := m.(*pgproto3.SASLInitialResponse); ok {
		return first.AuthMechanism, nil
	}
	return "another message", nil
}

func TestARequiredChannelBindingIsProvedByTheLogin(t *testing.T) {
	t.Parallel()
	s := remotetest.Start(t, remotetest.Config{})
	c := dial(t, target(s))
	both := &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}}
	for name, x := range map[string]struct {
		binding  string
		ask      pgproto3.BackendMessage
		answered string
		says     string // in the error, if not empty
	}{
		"preferred, it falls back to plain SCRAM":    {"", both, "SCRAM-SHA-256", ""},
		"the certificate has no hash to be bound by": {"require", both, "", "certificate hash"},
		"the server behind a proxy has no TLS":       {"require", &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}, "", "does not support SCRAM-SHA-256-PLUS"},
		"it lets everybody in":                       {"require", &pgproto3.AuthenticationOk{}, "", "channel binding required"},
	} {
		port, answered := upstream(t, x.ask)
		_, err := c.ReplicationLogin(limited(t), host.Login{Address: "127.0.0.1", Port: port, User: "replicator", Password: secret.New("correct"), SSLMode: "require", Binding: x.binding})
		if err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: got %v", name, err)
		}
		if got := <-answered; got != x.answered {
			t.Errorf("%s: it answered %q, want %q", name, got, x.answered)
		}
	}
}
