//go:build exclusivebackup

package live

import "github.com/pgrepctl/pgrepctl/pkg/postgres"

// backupAs makes 10 to 14 back up as 9.5 does: its functions are still there. This is a
// build for the tests of what 9.4 and 9.5 need, of which no servers can be had.
func backupAs(v postgres.Version) postgres.Version {
	if v.AtLeast(15) {
		return 0
	}
	return postgres.MakeVersion(9, 5, 25)
}
