package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/host"
)

// managersScript prints a word for each manager of high availability that it finds
// on a host: a process of its name, or its usual files.
const managersScript = `
PATH=$PATH:/usr/bin:/bin
# One look at all processes, for to start a program for each takes longer than all else.
for f in $(grep -l -e patroni -e repmgrd /proc/[0-9]*/cmdline 2>/dev/null); do
	# The interpreter of a script is not its name: the first words are.
	set -- $(tr '\0' '\n' <"$f" 2>/dev/null | head -n 2 | sed 's,.*/,,')
	for word in "$@"; do
		case $word in
		patroni | patroni.py) echo patroni ;;
		repmgrd) echo repmgrd ;;
		esac
	done
done
for f in /etc/patroni.yml /etc/patroni.yaml /etc/patroni/*.yml /etc/patroni/*.yaml; do [ -e "$f" ] && echo patroni; done
for f in /etc/repmgr.conf /etc/repmgr/*.conf /etc/repmgr/*/repmgr.conf; do [ -e "$f" ] && echo repmgrd; done
exit 0
`

const managersQuery = `select distinct case when application_name ilike '%patroni%' then 'patroni' else 'repmgrd' end as name
	from pg_stat_activity where application_name ilike '%patroni%' or application_name ilike '%repmgr%'`

// Managers are the programs that may resume replay on their own: Patroni does so with
// any paused replica (14+, unless its cluster is in pause mode), repmgrd when it
// fails over. They are looked for among processes, usual configuration files and
// sessions; one that is somewhere else is not found. Of a server that is stopped s is nil.
func Managers(ctx context.Context, r host.Runner, s host.SQL) ([]string, error) {
	out, err := host.Output(ctx, r, host.Cmd{Argv: []string{"sh", "-c", managersScript}})
	if err != nil {
		return nil, fmt.Errorf("look for Patroni and repmgrd: %w", err)
	}
	words := strings.Fields(string(out))
	var rows []struct {
		Name string `json:"name"`
	}
	if s != nil {
		if err := s.Query(ctx, &rows, managersQuery); err != nil {
			return nil, fmt.Errorf("look for Patroni and repmgrd: %w", err)
		}
	}
	for _, row := range rows {
		words = append(words, row.Name)
	}
	found := []string{}
	for _, name := range []string{"patroni", "repmgrd"} {
		if slices.Contains(words, name) {
			found = append(found, name)
		}
	}
	return found, nil
}
