package remotetest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Postgres is a real server, run by the OS user postgres.
type Postgres struct {
	SocketDir string
	Port      int
	DataDir   string
	RootCert  []byte // PEM, signs the server's certificate for "localhost"

	bin string
}

// StartPostgres runs a server until the end of the test. hba is the content of
// pg_hba.conf; peer logins of postgres by the socket are always allowed.
// It needs root and a PostgreSQL, and fails without them; -short skips.
func StartPostgres(t testing.TB, hba string) *Postgres {
	t.Helper()
	if testing.Short() {
		t.Skip("a real PostgreSQL is started only without -short")
	}
	if os.Getuid() != 0 {
		t.Fatal("run the tests of real servers as root, or with -short")
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatal(err)
	}
	initdb := Program(t, "postgresql", append(found, "/usr/bin/initdb", "/usr/pgsql/bin/initdb")...)
	// A socket's path has at most 107 bytes: the test's own directory is too
	// deep.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	p := &Postgres{SocketDir: dir, Port: FreePort(t), DataDir: filepath.Join(dir, "data"), bin: filepath.Dir(initdb)}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "chown", "postgres:", dir)
	p.postgres(t, "initdb", "-A", "reject", "-N", "--no-instructions", "-D", p.DataDir)
	p.certificate(t)
	p.file(t, "pg_hba.conf", "local all postgres peer\n"+hba)
	p.file(t, "postgresql.auto.conf", fmt.Sprintf(`
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
fsync = off
ssl = on
password_encryption = 'scram-sha-256'
log_min_messages = fatal
`, p.Port, dir))
	p.Start(t)
	t.Cleanup(func() { p.Stop(t) })
	return p
}

func (p *Postgres) file(t testing.TB, name, content string) {
	t.Helper()
	path := filepath.Join(p.DataDir, name)
	WriteFile(t, path, []byte(content))
	run(t, "chown", "postgres:", path)
}

// certificate makes an authority and a certificate for localhost.
func (p *Postgres) certificate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, made, made, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.RootCert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	p.file(t, "server.crt", string(p.RootCert))
	p.file(t, "server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// Start starts the server again after Stop.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	p.postgres(t, "pg_ctl", "-s", "-w", "-D", p.DataDir, "-l", filepath.Join(p.DataDir, "log"), "start")
}

// Stop stops the server, as far as it runs.
func (p *Postgres) Stop(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(p.DataDir, "postmaster.pid")); err == nil {
		p.postgres(t, "pg_ctl", "-s", "-w", "-m", "immediate", "-D", p.DataDir, "stop")
	}
}

// Query runs SQL as the superuser, past everything that is tested.
func (p *Postgres) Query(t testing.TB, sql string) string {
	t.Helper()
	return strings.TrimSpace(p.postgres(t, "psql", "-XqAt", "-h", p.SocketDir, "-p", fmt.Sprint(p.Port), "-c", sql))
}

func (p *Postgres) postgres(t testing.TB, program string, args ...string) string {
	t.Helper()
	argv := append([]string{"-u", "postgres", "--", filepath.Join(p.bin, program)}, args...)
	return run(t, "runuser", argv...)
}

func run(t testing.TB, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, errOut.String())
	}
	return out.String()
}
