// Command pgrepctl provisions and operates PostgreSQL streaming replication
// over SSH.
package main

import (
	"os"

	"github.com/pgrepctl/pgrepctl/pkg/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
