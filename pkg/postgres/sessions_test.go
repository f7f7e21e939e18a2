package postgres

import (
	"regexp"
	"strings"
	"testing"
)

func TestNoSessionOfTheToolIsAClients(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		q, err := v.ClientSessions(nil)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`coalesce\(application_name, ''\) !~ '([^']*)'`).FindStringSubmatch(q)
		if m == nil {
			t.Fatalf("it does not tell sessions by their application: %s", q)
		}
		for name, own := range map[string]bool{"pgrepctl": true, "pgrepctl anna@desk 7f3a": true, "pgrepctld": false, "psql": false, "": false} {
			if got := regexp.MustCompile(m[1]).MatchString(name); got != own {
				t.Errorf("%q is the tool's: %v", name, got)
			}
		}
	})
}

// Who is made to leave is who is counted, but for those that run a statement, or none.
func TestNobodyIsMadeToLeaveWhoIsNotAClient(t *testing.T) {
	t.Parallel()
	eachMajor(t, func(t *testing.T, v Version) {
		count, err := v.ClientSessions([]string{"monitor"})
		if err != nil {
			t.Fatal(err)
		}
		_, where, _ := strings.Cut(count, " from ")
		cancel, err1 := v.CancelClients([]string{"monitor"})
		end, err2 := v.EndIdleClients([]string{"monitor"})
		if err1 != nil || err2 != nil || cancel != "select count(pg_cancel_backend(pid)) as count from "+where+" and state = 'active'" ||
			!strings.HasPrefix(end, "select count(pg_terminate_backend(pid)) as count from "+where+" and state like 'idle%' and ") {
			t.Errorf("%s\n%s\n%v, %v", cancel, end, err1, err2)
		}
	})
}

// Advisory locks are of one database: the same key in another one is somebody else's.
func TestTheClusterLockIsOfItsDatabase(t *testing.T) {
	t.Parallel()
	if !regexp.MustCompile(`l\.database = \(select oid from pg_database where datname = current_database\(\)\)`).MatchString(ClusterLockHolder) {
		t.Error(ClusterLockHolder)
	}
}
