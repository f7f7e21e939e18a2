package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/ddl/live"
	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

// ddlCheckFormat names the JSON form of a ddlReport.
const ddlCheckFormat = "pgrepctl.ddl-check/v1"

// ddlReport is the result of ddl check.
type ddlReport struct {
	Format string `json:"format"`
	// Version is the major version that it was judged by, empty when none was known.
	Version string `json:"version,omitempty"`
	// Primary and Database were asked, and Relations is what they said.
	Primary   string          `json:"primary,omitempty"`
	Database  string          `json:"database,omitempty"`
	Relations []live.Relation `json:"relations,omitempty"`
	// Run is that of the probe.
	Run string `json:"run,omitempty"`
	*ddl.Script
}

func (a *app) checkDDL(cmd *cobra.Command, c ddlCheck) error {
	text, err := a.script(c.file)
	if err != nil {
		return err
	}
	if c.file == "-" {
		c.file = "stdin"
	}
	if c.database != "" {
		return a.checkAgainst(cmd.Context(), c, text)
	}
	v, err := a.judgedBy(cmd, c.pg)
	if err != nil {
		return err
	}
	s, err := ddl.Parse(c.file, text, v)
	if err != nil {
		return err
	}
	return a.reportDDL(judged(v, s))
}

func judged(v postgres.Version, s *ddl.Script) *ddlReport {
	r := &ddlReport{Format: ddlCheckFormat, Script: s}
	if v != 0 {
		r.Version = v.Major()
	}
	return r
}

// checkAgainst asks the primary.
func (a *app) checkAgainst(ctx context.Context, c ddlCheck, text []byte) error {
	// What is wrong with the file is wrong without a connection.
	if _, err := ddl.Parse(c.file, text, 0); err != nil {
		return err
	}
	s, err := a.open()
	if err != nil {
		return err
	}
	defer s.close(ctx)
	primary := s.inv.Primary().Name
	r, err := lookDDL(ctx, s, primary, "", c, text)
	if err != nil {
		return err
	}
	if c.probe {
		if err := a.probeDDL(ctx, s, c, text, r); err != nil || a.dryRun {
			return err
		}
	}
	return a.reportDDL(r)
}

// lookDDL reads what the database says of the script, which a role runs; none is the user
// that connects.
func lookDDL(ctx context.Context, s *session, primary, role string, c ddlCheck, text []byte) (*ddlReport, error) {
	g, err := s.conn.Gatherer(ctx, primary)
	if err != nil {
		return nil, err
	}
	sql, err := g.Session(ctx, c.database, "pgrepctl ddl check")
	if host.SQLState(err) == postgres.InvalidCatalogName {
		return nil, &fault.Error{Class: fault.Usage, Host: primary, Err: fmt.Errorf("it has no database %q", c.database), Hint: "name another one with --database"}
	}
	if err != nil {
		return nil, effect.NoServer(primary, err)
	}
	r, err := askAs(ctx, sql, role, c, text)
	if err == nil {
		err = sql.Exec(ctx, "set lock_timeout = 0") // as it began
	}
	if err != nil {
		_ = sql.Close(context.WithoutCancel(ctx))
		var told *fault.Error
		if !errors.As(err, &told) {
			err = &fault.Error{Class: fault.ClassOf(err), Host: primary, Op: "ask about the script", Err: err}
		}
		return nil, err
	}
	g.Spare(ctx, c.database, sql) // a rollout goes on with it
	r.Primary, r.Database = primary, c.database
	return r, nil
}

func askDDL(ctx context.Context, sql host.SQL, c ddlCheck, text []byte) (*ddlReport, error) {
	v, err := live.Version(ctx, sql)
	if err != nil {
		return nil, err
	}
	script, err := ddl.Parse(c.file, text, v)
	if err != nil {
		return nil, err
	}
	r := judged(v, script)
	if r.Relations, err = live.Relations(ctx, sql, script); err != nil {
		return nil, err
	}
	script.Partitioned(v, r.partitioned)
	script.NoIndexes(r.noIndex)
	return r, nil
}

// noIndex reports whether a name is that of something else than an index.
func (r *ddlReport) noIndex(n ddl.Name) bool {
	rel, ok := r.relation(n)
	return ok && rel.Exists && rel.Kind != "index" && rel.Kind != live.PartitionedIndex
}

// partitioned reports whether a name is that of a table or index that has partitions.
func (r *ddlReport) partitioned(n ddl.Name) bool {
	rel, ok := r.relation(n)
	return ok && (rel.Kind == live.PartitionedTable || rel.Kind == live.PartitionedIndex)
}

// probeDDL runs the plan of the probe, once it is confirmed, and takes its results.
func (a *app) probeDDL(ctx context.Context, s *session, c ddlCheck, text []byte, r *ddlReport) error {
	const name = "probe-ddl"
	p, err := a.builtinPlan(s.inv, name, map[string]string{"database": c.database, "file": c.file, "script": string(text)})
	if err != nil {
		return err
	}
	pre, err := s.Preview(ctx, p)
	if err != nil {
		return err
	}
	report, err := a.consented(ctx, s, pre, func(ctx context.Context) (*engine.Report, error) {
		r, err := s.ApplyAfter(ctx, p, pre)
		if a.takesBack(r, err) {
			// There is nothing in it to go on with, and an open run is in the way of others.
			return r, a.undoFailed(ctx, s, r, err)
		}
		return r, err
	})
	if err != nil || report == nil {
		return err
	}
	r.Run = report.Run
	var results []ddl.Probed
	if err := json.Unmarshal([]byte(report.Outputs[effect.ProbeOutput]), &results); err != nil {
		return fmt.Errorf("read the results of the probe: %w", err)
	}
	r.Take(results)
	return nil
}
