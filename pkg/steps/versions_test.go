package steps

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/effect"
	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/inventory"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
)

func TestAnUndoAsksAServerOfItsVersionWhatItsFilesSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ major, value, want string }{
		{"9.4", `pg2, "pg-3"`, `(position('s = ''pg2, "pg-3"''' in pg_read_file('postgresql.auto.conf')) > 0)`},
		{"9.4", "it's", `(position('s = ''it''''s''' in pg_read_file('postgresql.auto.conf')) > 0)`},
		{"9.5", "pg2", `exists (select from pg_file_settings where name = 's' and setting = 'pg2')`},
	} {
		v, err := postgres.ParseVersion(c.major)
		if err != nil {
			t.Fatal(err)
		}
		if got := inFiles(v, "s", c.value); got != c.want {
			t.Errorf("%s: %s", c.major, got)
		}
	}
}

func TestAVerifierIsKeptOutOfEveryLogOfItsVersion(t *testing.T) {
	t.Parallel()
	for major, settings := range map[string][]string{
		"9.4": nil, "11": nil, "12": {"log_transaction_sample_rate"}, "13": {"log_transaction_sample_rate", "log_min_duration_sample"}, "18": {"log_transaction_sample_rate", "log_min_duration_sample"},
	} {
		v, err := postgres.ParseVersion(major)
		if err != nil {
			t.Fatal(err)
		}
		list := quiet(v, "CREATE")
		all := strings.Join(list, "\n")
		for _, s := range []string{"log_transaction_sample_rate", "log_min_duration_sample"} {
			if got := strings.Contains(all, s); got != slices.Contains(settings, s) {
				t.Errorf("%s: %s is set: %v", major, s, got)
			}
		}
		// Whether a transaction is a sample is decided when it begins.
		if len(settings) > 0 && !strings.HasPrefix(all, "SET log_transaction_sample_rate = 0\nBEGIN\n") {
			t.Errorf("%s: %s", major, all)
		}
		if !strings.HasSuffix(all, "\nSET LOCAL pg_stat_statements.track_utility = off\nCREATE\nCOMMIT") {
			t.Errorf("%s: %s", major, all)
		}
	}
}

// NOLOGIN would keep another standby from coming back.
func TestARoleThatIsNeededKeepsWhatItWasGiven(t *testing.T) {
	t.Parallel()
	p, err := (&Role{Name: "r", Replication: true}).alter(In{Self: &inventory.Host{Name: "pg1"}}, facts.Role{Name: "r", Exists: true})
	if err != nil {
		t.Fatal(err)
	}
	undo := p.Effects[0].(*effect.SQL).Undo
	const want = "select not exists (select from pg_roles where rolname = 'r') or exists (select from pg_stat_replication where usename = 'r') as done"
	if undo.Statements[0] != `ALTER ROLE "r" NOLOGIN NOREPLICATION` || undo.Unless != want {
		t.Errorf("%+v", undo)
	}
}
