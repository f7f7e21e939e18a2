//go:build !exclusivebackup

package live

import "github.com/pgrepctl/pgrepctl/pkg/postgres"

// backupAs is zero: a server makes backups as its own version does.
func backupAs(postgres.Version) postgres.Version { return 0 }
