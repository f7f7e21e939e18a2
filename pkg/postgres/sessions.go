package postgres

import (
	"fmt"
	"strings"
)

// ClientSessions is a query of one row, count: the sessions of clients, without the
// tool's own (of runs, "pgrepctl …", and of whatever watches, "pgrepctl"),
// walsenders, and those of the roles in ignore. Up to 9.6 pg_stat_activity has
// sessions of clients and walsenders alone.
func (v Version) ClientSessions(ignore []string) (string, error) {
	return v.clients("*", ignore)
}

// CancelClients cancels the statements that those sessions run.
func (v Version) CancelClients(ignore []string) (string, error) {
	q, err := v.clients("pg_cancel_backend(pid)", ignore)
	return q + " and state = 'active'", err
}

// EndIdleClients ends those sessions that run none. One that has done so a moment ago is
// about to run the next: it is left alone.
func (v Version) EndIdleClients(ignore []string) (string, error) {
	q, err := v.clients("pg_terminate_backend(pid)", ignore)
	return q + " and state like 'idle%' and clock_timestamp() - state_change >= interval '5 ms'", err
}

func (v Version) clients(counted string, ignore []string) (string, error) {
	q := "select count(" + counted + ") as count from pg_stat_activity a where pid <> pg_backend_pid() and coalesce(application_name, '') !~ '^pgrepctl( |$)'"
	if v.AtLeast(10) {
		q += " and backend_type = 'client backend'"
	} else {
		q += " and not exists (select from pg_stat_replication r where r.pid = a.pid)"
	}
	if len(ignore) == 0 {
		return q, nil
	}
	names := make([]string, len(ignore))
	for i, n := range ignore {
		lit, err := QuoteLiteral(n)
		if err != nil {
			return "", fmt.Errorf("role to ignore: %w", err)
		}
		names[i] = lit
	}
	return q + " and coalesce(usename, '') not in (" + strings.Join(names, ", ") + ")", nil
}
