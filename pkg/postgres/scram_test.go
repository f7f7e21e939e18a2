package postgres

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// serverVerifiers were made by a 15.20 server for role r by CREATE ROLE …
// PASSWORD with each password_encryption.
func serverVerifiers(t *testing.T) []struct{ Password, Verifier string } {
	t.Helper()
	b, err := os.ReadFile("testdata/verifiers.json")
	if err != nil {
		t.Fatal(err)
	}
	var v []struct{ Password, Verifier string }
	if err := json.Unmarshal(b, &v); err != nil || len(v) < 30 {
		t.Fatalf("%d verifiers, %v", len(v), err)
	}
	return v
}

func TestVerifiersAreThoseOfAServer(t *testing.T) {
	t.Parallel()
	for _, v := range serverVerifiers(t) {
		pw := secret.New(v.Password)
		kind, ok := VerifierKind(v.Verifier)
		if !ok {
			t.Errorf("%q is no verifier", v.Verifier)
		}
		if !VerifierMatches(v.Verifier, "r", pw) {
			t.Errorf("%s verifier of %q does not match", kind, v.Password)
		}
		if VerifierMatches(v.Verifier, "r", secret.New(v.Password+"!")) {
			t.Errorf("%s verifier of %q matches another password", kind, v.Password)
		}
		switch kind {
		case MD5:
			if got := MD5Verifier("r", pw); got != v.Verifier {
				t.Errorf("md5 of %q: %s, want %s", v.Password, got, v.Verifier)
			}
		case SCRAMSHA256:
			p, err := parseSCRAM(v.Verifier)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := SCRAMVerifier(pw, p.salt, p.iterations); err != nil || got != v.Verifier {
				t.Errorf("scram of %q: %s, %v; want %s", v.Password, got, err, v.Verifier)
			}
		}
	}
}

func TestSCRAMVerifierOfTheRFCExample(t *testing.T) {
	t.Parallel()
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==") // RFC 7677, section 3
	if err != nil {
		t.Fatal(err)
	}
	got, err := SCRAMVerifier(secret.New("pencil"), salt, SCRAMIterations)
	want := "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if err != nil || got != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

func TestSCRAMVerifierRefusesWhatServersRefuse(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (string, error){
		"no password": func() (string, error) { return SCRAMVerifier(secret.Value{}, []byte("salt"), 4096) },
		"no salt":     func() (string, error) { return SCRAMVerifier(secret.New("hidden"), nil, 4096) },
		"iterations":  func() (string, error) { return SCRAMVerifier(secret.New("hidden"), []byte("salt"), 0) },
		"NUL":         func() (string, error) { return SCRAMVerifier(secret.New("hid\x00den"), []byte("salt"), 1) },
	} {
		if v, err := f(); err == nil || strings.Contains(err.Error(), "hid") {
			t.Errorf("%s: %s, %v", name, v, err)
		}
	}
}

func TestNoVerifierMatchesNothing(t *testing.T) {
	t.Parallel()
	good, err := SCRAMVerifier(secret.New("x"), []byte("salt"), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{
		"", "x", "md5", "md5x", "md5" + strings.Repeat("G", 32), "SCRAM-SHA-256$",
		strings.TrimSuffix(good, "="), strings.Replace(good, "$1:", "$0:", 1),
		strings.Replace(good, "$1:", "$x:", 1), strings.Replace(good, "SHA-256", "SHA-1", 1),
	} {
		if kind, ok := VerifierKind(v); ok || VerifierMatches(v, "r", secret.New("x")) {
			t.Errorf("%q is a verifier of kind %s", v, kind)
		}
	}
	if VerifierMatches(MD5Verifier("r", secret.Value{}), "r", secret.Value{}) {
		t.Error("the empty password matches")
	}
}

func TestBothKeysOfAVerifierAreCompared(t *testing.T) {
	t.Parallel()
	a, err := SCRAMVerifier(secret.New("a"), []byte("salt"), 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := SCRAMVerifier(secret.New("b"), []byte("salt"), 1)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(s string) int { return strings.LastIndex(s, ":") }
	for _, mixed := range []string{a[:cut(a)] + b[cut(b):], b[:cut(b)] + a[cut(a):]} {
		if _, ok := VerifierKind(mixed); !ok || VerifierMatches(mixed, "r", secret.New("a")) {
			t.Errorf("%s matches", mixed)
		}
	}
}

func TestMD5VerifierDependsOnTheRole(t *testing.T) {
	t.Parallel()
	if MD5Verifier("a", secret.New("x")) == MD5Verifier("b", secret.New("x")) {
		t.Error("two roles share a verifier")
	}
}

// Examples of RFC 4013, section 3.
func TestSASLprepExamples(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX",
	} {
		if got, ok := saslPrep(in); !ok || got != want {
			t.Errorf("saslPrep(%q) = %q, %t; want %q", in, got, ok, want)
		}
	}
	for _, in := range []string{"\u0007é", "\u0627\u0031", "\u00ad", "\u0221", "\xff", "\ue000"} {
		if got, ok := saslPrep(in); ok {
			t.Errorf("saslPrep(%q) = %q, want a refusal", in, got)
		}
	}
}
