package live

import (
	"path"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
	"github.com/pgrepctl/pgrepctl/pkg/journal"
)

// parseRuns reads "PATH=FIRST LINE" of the copies of journals. One that does not
// name the run whose directory it lies in is none of ours.
func parseRuns(list []string) []facts.Run {
	var out []facts.Run
	for _, item := range list {
		p, line, _ := strings.Cut(item, "={")
		recs, _, err := journal.Parse(p, []byte("{"+line+"\n"))
		if err != nil {
			continue
		}
		run := recs[0].Run
		if path.Base(path.Dir(p)) != run.ID {
			continue
		}
		out = append(out, facts.Run{ID: run.ID, Cluster: run.Cluster, Plan: run.Plan, Vars: run.Vars, Operator: run.Operator, Started: recs[0].At, Path: p, Meets: run.Meets})
	}
	return out
}
