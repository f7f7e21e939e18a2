package live

import (
	"context"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

var _ facts.ClientCounter = (*Gatherer)(nil)

// Clients counts the sessions of clients, without those of the roles to ignore.
func (g *Gatherer) Clients(ctx context.Context, ignore []string) (int, error) {
	var rows []struct {
		Count int `json:"count"`
	}
	err := g.ask(ctx, func(sql host.SQL, v postgres.Version) error {
		query, err := v.ClientSessions(ignore)
		if err != nil {
			return err
		}
		return sql.Query(ctx, &rows, query)
	})
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].Count, nil
}
