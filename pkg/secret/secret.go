// Package secret holds the one type for values that must never be shown.
//
// Masking is a property of the type, not of the places that print: every
// formatting, logging and encoding path of the standard library ends in one of
// the methods below.
package secret

import (
	"fmt"
	"log/slog"
)

const mask = "***"

// Value is a secret string. Its zero value is "no secret".
type Value struct{ s string }

// New wraps s.
func New(s string) Value { return Value{s} }

// Reveal returns the secret itself. Call it only at the point where the bytes
// leave for their destination (a socket, a 0600 file, a hash).
func (v Value) Reveal() string { return v.s }

// IsZero reports whether there is no secret.
func (v Value) IsZero() bool { return v.s == "" }

func (v Value) String() string               { return mask }
func (v Value) GoString() string             { return mask }
func (v Value) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(mask)) }
func (v Value) LogValue() slog.Value         { return slog.StringValue(mask) }
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }
func (v Value) MarshalYAML() (any, error)    { return mask, nil }
func (v Value) MarshalText() ([]byte, error) { return []byte(mask), nil }
