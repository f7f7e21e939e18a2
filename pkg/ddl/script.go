// Package ddl reads a script of schema changes: it cuts it into statements and says of
// each what it does to those who read from a standby. It is pure: bytes in, data out.
//
// It does not parse SQL. A small lexer finds where statements end and which words they
// begin with; an allow-list says what is known of them. What the list does not have is
// taken for the worst (Rewrite), so a gap in it costs a slower way, never a blocked read.
package ddl

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// Script is a file of schema changes.
type Script struct {
	File       string      `json:"file"`
	SHA256     string      `json:"sha256"` // of the bytes of the file
	Statements []Statement `json:"statements"`
}

// Statement is one statement of a script.
type Statement struct {
	// Text is as written, without what stands before it and without the semicolon.
	Text   string `json:"text"`
	Line   int    `json:"line"` // of its first token, from 1
	Column int    `json:"column"`
	// Command is its command tag: "ALTER TABLE", "CREATE INDEX CONCURRENTLY".
	Command string `json:"command"`
	Class   Class  `json:"class"`
	// Why says in one line what the class is for.
	Why string `json:"why"`
	// Transactional: it may run in a transaction block.
	Transactional bool `json:"transactional"`
	// Targets are the relations and indexes that it names and acts on.
	Targets  []Name    `json:"targets"`
	Warnings []Warning `json:"warnings"`
	// Shared: it changes what all databases of the server have in common, such as roles.
	Shared bool `json:"shared,omitempty"`
	// Probed is what it did in a scratch copy of the schema, if it was run there.
	Probed *Probed `json:"probed,omitempty"`
	// AddsKey: it adds a foreign key. Of a partitioned table that locks more.
	AddsKey bool `json:"-"`
	// Offset is where Text begins in the file, in bytes.
	Offset int `json:"-"`
}

// Class is what a statement does to those who read from a standby. Replay repeats only
// one kind of lock, AccessExclusiveLock: all others of the primary do not exist there.
type Class int

const (
	// None takes no AccessExclusiveLock, or only on what it makes itself.
	None Class = iota
	// New takes one on something that new reads do not open any more.
	New
	// Lock takes one on what is read, for a moment.
	Lock
	// Rewrite keeps one while it writes the table anew, or does what is not known.
	Rewrite
	// Refuse is what a rollout cannot do at all.
	Refuse
)

func (c Class) String() string {
	switch c {
	case None:
		return "none"
	case New:
		return "new"
	case Lock:
		return "lock"
	case Rewrite:
		return "rewrite"
	}
	return "refuse"
}

// MarshalText gives the word, for JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads it again.
func (c *Class) UnmarshalText(text []byte) error {
	for x := None; x <= Refuse; x++ {
		if x.String() == string(text) {
			*c = x
			return nil
		}
	}
	return fmt.Errorf("no class %q", text)
}

// Warning is what a reviewer would say of a statement. IDs do not change.
type Warning struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

// Parse cuts a script and classifies its statements. What is no schema change, or cannot
// be read, is a fault of class Invalid around inventory.Errors, the place of each mistake. Of version 0 it gives
// the most careful answer for PostgreSQL 10 and later.
func Parse(file string, text []byte, v postgres.Version) (*Script, error) {
	sum := sha256.Sum256(text)
	s := &Script{File: file, SHA256: hex.EncodeToString(sum[:])}
	r := reading{file: file, version: v}
	src, ok := r.decode(text)
	if !ok {
		return nil, r.errors()
	}
	for _, p := range r.split(src) {
		if st, ok := r.statement(p); ok {
			s.Statements = append(s.Statements, st)
		}
	}
	if len(r.problems) == 0 && len(s.Statements) == 0 {
		r.problem(place{line: 1, col: 1}, "write at least one schema change, such as ALTER TABLE", "no statement in the file")
	}
	if len(r.problems) > 0 {
		return nil, r.errors()
	}
	s.review()
	return s, nil
}
