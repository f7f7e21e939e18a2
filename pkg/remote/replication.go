package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// ReplicationLogin implements host.Host. The connection is made on the host,
// by a bridge, so that pg_hba.conf sees the host's own address. The password
// never reaches the host's argv, environment or files.
func (c *Conn) ReplicationLogin(ctx context.Context, l host.Login) (host.System, error) {
	first, second, err := tlsModes(l)
	if err != nil {
		return host.System{}, err
	}
	cfg, err := pgConfig(l.Address, l.Port, l.User)
	if err != nil {
		return host.System{}, err
	}
	cfg.Password = l.Password.Reveal()
	cfg.RuntimeParams = map[string]string{"replication": "true", "application_name": "pgrepctl"}
	if l.Binding == "require" {
		// Else pgx falls back to plain SCRAM, as libpq does by itself, where there is no
		// hash of the certificate: the walreceiver, which must not, would be refused.
		cfg.ChannelBinding, cfg.RequireAuth = "require", "scram-sha-256"
	}
	cfg.TLSConfig = first.config
	if second != nil {
		cfg.Fallbacks = []*pgconn.FallbackConfig{{Host: cfg.Host, Port: cfg.Port, TLSConfig: second.config}}
	}
	var wires bridges
	address := net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
	cfg.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return wires.add(c.dialTCP(ctx, address))
	}
	pg, err := connectPG(ctx, cfg, &wires)
	if err != nil {
		return host.System{}, fmt.Errorf("log in to %s from %s: %w", address, c.Name(), err)
	}
	s := &session{host: c.Name(), pg: pg, lost: wires.first().over}
	system, err := s.identify(ctx)
	if err != nil {
		err = fmt.Errorf("identify system at %s from %s: %w", address, c.Name(), err)
	}
	if err == nil && l.Slot != "" {
		if err = s.reserve(ctx, l.Slot, system.LSN); err != nil {
			err = fmt.Errorf("stream from slot %s of %s from %s: %w", l.Slot, address, c.Name(), err)
		}
	}
	return system, errors.Join(err, s.Close(ctx))
}

func (s *session) identify(ctx context.Context) (host.System, error) {
	results, err := s.pg.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return host.System{}, s.explain(ctx, err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 3 {
		return host.System{}, errors.New("unexpected answer")
	}
	row := results[0].Rows[0]
	return host.System{ID: string(row[0]), LSN: string(row[2])}, nil
}

// attempt at a login; a nil config is without TLS.
type tlsAttempt struct{ config *tls.Config }

// tlsModes are libpq's sslmodes (PostgreSQL documentation, libpq-ssl): the
// attempts in order, the second only for allow and prefer.
func tlsModes(l host.Login) (first tlsAttempt, second *tlsAttempt, err error) {
	blind := &tls.Config{InsecureSkipVerify: true, ServerName: serverName(l.Address)}
	plain := tlsAttempt{}
	mode := l.SSLMode
	if mode == "" {
		mode = "prefer"
	}
	if mode == "require" && len(l.SSLRootCert) > 0 {
		mode = "verify-ca" // as libpq, for backward compatibility
	}
	switch mode {
	case "disable":
		return plain, nil, nil
	case "allow":
		return plain, &tlsAttempt{blind}, nil
	case "prefer":
		return tlsAttempt{blind}, &plain, nil
	case "require":
		return tlsAttempt{blind}, nil, nil
	case "verify-ca", "verify-full":
	default:
		return plain, nil, fmt.Errorf("unknown sslmode %q", l.SSLMode)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(l.SSLRootCert) {
		return plain, nil, fmt.Errorf("sslmode %s: no certificate in the root certificate file", mode)
	}
	checked := blind.Clone()
	checked.VerifyConnection = func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		server := state.PeerCertificates[0]
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil || mode == "verify-ca" {
			return err
		}
		return names(server, l.Address)
	}
	return tlsAttempt{checked}, nil, nil
}

// names checks that a certificate is of an address, as libpq does: by its alternative names,
// and where it has none that could be the address by its common name, which Go looks at no
// more. Of an IP address libpq looks at the IP addresses from 15 on, and before that at the
// DNS names.
func names(cert *x509.Certificate, address string) error {
	err := cert.VerifyHostname(address)
	isIP := net.ParseIP(address) != nil
	if err == nil || len(cert.DNSNames) > 0 || isIP && len(cert.IPAddresses) > 0 {
		return err
	}
	for _, part := range cert.Subject.Names {
		if !part.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			continue
		}
		if cn, ok := part.Value.(string); ok && (same(cn, address) || !isIP && wildcard(cn, address)) {
			return nil
		}
		break // libpq looks at the first
	}
	return err
}

// same compares names of ASCII; other letters that are equal to one of these are longer.
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// wildcard reports whether *.example.org matches a name: the * is one label.
func wildcard(pattern, name string) bool {
	domain, ok := strings.CutPrefix(pattern, "*.")
	label, rest, dot := strings.Cut(name, ".")
	return ok && domain != "" && dot && label != "" && same(domain, rest)
}

// serverName is sent for SNI, as libpq does: names only.
func serverName(address string) string {
	if net.ParseIP(address) != nil {
		return ""
	}
	return address
}
