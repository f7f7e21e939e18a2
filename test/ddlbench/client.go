package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// address is where a client connects to in the lab.
type address struct {
	host string
	port int
}

// client is one connection to a server or a balancer of the lab.
type client struct{ pg *pgconn.PgConn }

// database holds the tables that are read, written and altered.
const database = "shop"

func (s *stage) connect(ctx context.Context, a address) (*client, error) {
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d user=postgres dbname=%s sslmode=disable connect_timeout=10", a.host, a.port, database))
	if err != nil {
		return nil, fmt.Errorf("connect to %s:%d: %w", a.host, a.port, err)
	}
	cfg.DialFunc = s.lab.DialContext
	cfg.LookupFunc = func(_ context.Context, name string) ([]string, error) { return []string{name}, nil }
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &client{pg}, nil
}

// row runs a statement and returns the first row of its result, if it has any.
func (c *client) row(ctx context.Context, sql string) ([]string, error) {
	results, err := c.pg.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return nil, nil
	}
	var row []string
	for _, v := range results[0].Rows[0] {
		row = append(row, string(v))
	}
	return row, nil
}

// value is the first column of that row.
func (c *client) value(ctx context.Context, sql string) (string, error) {
	row, err := c.row(ctx, sql)
	if err != nil {
		return "", err
	}
	if len(row) == 0 {
		return "", errors.New("no row")
	}
	return row[0], nil
}

func (c *client) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.pg.Close(ctx)
}
