package steps

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/secret"
)

// Role makes the replication role.
type Role struct {
	Name        string `yaml:"name"`        // of the role; its password is the inventory's replication.password
	Replication bool   `yaml:"replication"` // must be true: it has the attribute REPLICATION
}

var _ Step = (*Role)(nil)

// Validate is called when a plan file is read.
func (s *Role) Validate() error {
	if !s.Replication {
		return errors.New("say replication: true: a role without it is not made here")
	}
	return postgres.ValidRoleName(s.Name)
}

// Plan compares the role with what is wanted. An existing role's password is
// never changed: other standbys may log in with it.
func (s *Role) Plan(ctx context.Context, in In) (Planned, error) {
	h, err := in.self(ctx)
	if err != nil {
		return Planned{}, err
	}
	role, err := h.Role(ctx, s.Name)
	if err != nil {
		return Planned{}, err
	}
	pw, err := in.Run.Password(ctx)
	if err != nil {
		return Planned{}, err
	}
	if !role.Exists {
		return s.create(in, h, pw)
	}
	if !pw.IsZero() && !role.Verifier.IsZero() && !postgres.VerifierMatches(role.Verifier.Reveal(), s.Name, pw) {
		return Planned{}, fault.Refuse(in.Self.Name, "put the role's password into the inventory; or, to change it, first on "+in.Self.Name+" (\\password "+s.Name+" in psql; standbys that stream stay logged in), then in the inventory, then: pgrepctl apply",
			fmt.Errorf("role %s exists with another password than the inventory's", s.Name))
	}
	if role.Login && (role.Replication || role.Superuser) {
		return noop("role %s exists and may replicate", s.Name), nil
	}
	return s.alter(in, role)
}

func (s *Role) create(in In, h *facts.Host, pw secret.Value) (Planned, error) {
	ident, err := postgres.QuoteIdent(s.Name)
	if err != nil {
		return Planned{}, fmt.Errorf("role name: %w", err)
	}
	shown := "CREATE ROLE " + ident + " LOGIN REPLICATION NOSUPERUSER NOINHERIT"
	verifier, err := s.verifier(h.Server.Version, pw)
	if err != nil {
		return Planned{}, err
	}
	create, how := shown, "(LOGIN REPLICATION NOSUPERUSER, no password)"
	if verifier != "" {
		how = "(LOGIN REPLICATION NOSUPERUSER, password as a verifier)"
		lit, err := postgres.QuoteLiteral(verifier)
		if err != nil {
			return Planned{}, fmt.Errorf("verifier: %w", err)
		}
		shown, create = shown+" PASSWORD '***'", create+" PASSWORD "+lit
	}
	undo := &effect.SQL{Host: in.Self.Name, Verb: "drop", What: "role " + s.Name, Statements: []string{"DROP ROLE " + ident},
		Unless: s.kept()}
	return Planned{Effects: []effect.Effect{&effect.SQL{
		Host: in.Self.Name, Verb: "create", What: "role " + s.Name, Why: how,
		Statements: quiet(h.Server.Version, shown), Private: private(quiet(h.Server.Version, create)), Undo: undo,
		Change: effect.Change{SetRole: &facts.Role{Name: s.Name, Exists: true, Login: true, Replication: true, Verifier: secret.New(verifier)}},
		Claims: "role " + s.Name,
	}}}, nil
}

// kept: there is no such role any more, or another run's standby has come to need it.
func (s *Role) kept() string {
	return "select not exists (select from pg_roles where rolname = " + literal(s.Name) + ") or exists (select from pg_stat_replication where usename = " + literal(s.Name) + ") as done"
}

func (s *Role) alter(in In, role facts.Role) (Planned, error) {
	ident, err := postgres.QuoteIdent(s.Name)
	if err != nil {
		return Planned{}, fmt.Errorf("role name: %w", err)
	}
	var add, drop []string
	if !role.Login {
		add, drop = append(add, "LOGIN"), append(drop, "NOLOGIN")
	}
	if !role.Replication && !role.Superuser {
		add, drop = append(add, "REPLICATION"), append(drop, "NOREPLICATION")
	}
	after := role
	after.Login, after.Replication = true, true
	undo := &effect.SQL{Host: in.Self.Name, Verb: "alter", What: "role " + s.Name, Why: "(" + strings.Join(drop, " ") + ")",
		Statements: []string{"ALTER ROLE " + ident + " " + strings.Join(drop, " ")},
		Unless:     s.kept()}
	return Planned{Effects: []effect.Effect{&effect.SQL{
		Host: in.Self.Name, Verb: "alter", What: "role " + s.Name, Why: "(" + strings.Join(add, " ") + ")",
		Statements: []string{"ALTER ROLE " + ident + " " + strings.Join(add, " ")}, Undo: undo,
		Change: effect.Change{SetRole: &after},
	}}}, nil
}

func (s *Role) verifier(v postgres.Version, pw secret.Value) (string, error) {
	if pw.IsZero() {
		return "", nil
	}
	// Below 10 a SCRAM verifier would be taken for a plain password.
	if v.PasswordHash() != postgres.SCRAMSHA256 {
		return postgres.MD5Verifier(s.Name, pw), nil
	}
	salt := make([]byte, postgres.SCRAMSaltLen)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	out, err := postgres.SCRAMVerifier(pw, salt, postgres.SCRAMIterations)
	if err != nil {
		return "", fmt.Errorf("compute the verifier: %w", err)
	}
	return out, nil
}

// quiet keeps a statement out of the server's log, and out of pg_stat_statements,
// which keeps the text of what is no query. The SETs only work as messages of their
// own: log_statement is read when a query string arrives, and whether a transaction
// is a sample when it begins.
func quiet(v postgres.Version, statement string) []string {
	var out []string
	if v.AtLeast(12) {
		out = append(out, "SET log_transaction_sample_rate = 0")
	}
	out = append(out, "BEGIN", "SET LOCAL log_statement = 'none'", "SET LOCAL log_min_duration_statement = -1")
	if v.AtLeast(13) {
		out = append(out, "SET LOCAL log_min_duration_sample = -1")
	}
	return append(out, "SET LOCAL log_min_error_statement = 'panic'", "SET LOCAL pg_stat_statements.track_utility = off", statement, "COMMIT")
}

func private(statements []string) []secret.Value {
	out := make([]secret.Value, len(statements))
	for i, s := range statements {
		out[i] = secret.New(s)
	}
	return out
}

// literal quotes names that were validated when they were read.
func literal(s string) string {
	q, err := postgres.QuoteLiteral(s)
	if err != nil {
		return "NULL"
	}
	return q
}
