package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// signed is a certificate of a server with these names, and the certificate of who signed it.
func signed(t *testing.T, cn string, dns []string, ips []net.IP) (server tls.Certificate, root []byte) {
	t.Helper()
	made := func(template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER := made(ca, ca, keys[0], keys[0])
	der := made(&x509.Certificate{Subject: pkix.Name{CommonName: cn}, DNSNames: dns, IPAddresses: ips}, ca, keys[1], keys[0])
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: keys[1]}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
}

// shakeHands is a TLS handshake as a login would make it.
func shakeHands(t *testing.T, l host.Login, server tls.Certificate) error {
	t.Helper()
	first, second, err := tlsModes(l)
	if err != nil || second != nil || first.config == nil {
		t.Fatal(first, second, err)
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		defer theirs.Close()
		_ = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{server}}).HandshakeContext(t.Context())
	}()
	return tls.Client(ours, first.config).HandshakeContext(t.Context())
}

func TestACertificateIsOfTheAddressAsLibpqHasIt(t *testing.T) {
	t.Parallel()
	ip := []net.IP{net.IPv4(10, 0, 0, 11)}
	for _, c := range []struct {
		what, cn string
		dns      []string
		ips      []net.IP
		address  string
		want     bool
	}{
		{"a common name alone", "pg1.example.org", nil, nil, "pg1.example.org", true},
		{"in other letters", "PG1.Example.org", nil, nil, "pg1.example.org", true},
		{"of another host", "pg2.example.org", nil, nil, "pg1.example.org", false},
		{"of a domain", "*.example.org", nil, nil, "pg1.example.org", true},
		{"of the domain above", "*.org", nil, nil, "pg1.example.org", false},
		{"of the domain itself", "*.example.org", nil, nil, "example.org", false},
		{"of all", "*", nil, nil, "pg1", false},
		{"an address as the common name", "10.0.0.11", nil, nil, "10.0.0.11", true},
		{"no wildcard of addresses", "*.0.0.11", nil, nil, "10.0.0.11", false},
		{"a DNS name", "other", []string{"pg1.example.org"}, nil, "pg1.example.org", true},
		{"a DNS name of another host, for which the common name is not looked at", "pg1.example.org", []string{"pg2.example.org"}, nil, "pg1.example.org", false},
		{"an IP address beside the common name", "pg1.example.org", nil, ip, "pg1.example.org", true},
		{"the IP address", "other", nil, ip, "10.0.0.11", true},
		{"another IP address", "10.0.0.12", nil, ip, "10.0.0.12", false},
		{"an address as the common name, beside a DNS name", "10.0.0.11", []string{"pg1"}, nil, "10.0.0.11", false},
		{"no name at all", "", nil, nil, "pg1", false},
	} {
		server, root := signed(t, c.cn, c.dns, c.ips)
		err := shakeHands(t, host.Login{Address: c.address, SSLMode: "verify-full", SSLRootCert: root}, server)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.what, err)
		}
		if err := shakeHands(t, host.Login{Address: c.address, SSLMode: "verify-ca", SSLRootCert: root}, server); err != nil {
			t.Errorf("%s, whoever it is of: %v", c.what, err)
		}
	}
}

func TestACertificateOfAnotherAuthorityIsRefusedWhateverItsName(t *testing.T) {
	t.Parallel()
	server, _ := signed(t, "pg1", nil, nil)
	_, root := signed(t, "pg1", nil, nil)
	for _, mode := range []string{"verify-ca", "verify-full", "require"} { // require, as libpq, for there are certificates
		if err := shakeHands(t, host.Login{Address: "pg1", SSLMode: mode, SSLRootCert: root}, server); err == nil {
			t.Errorf("%s takes it", mode)
		}
	}
}
