package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrepctl/pgrepctl/pkg/ddl"
	"github.com/pgrepctl/pgrepctl/pkg/ddl/live"
	"github.com/pgrepctl/pgrepctl/pkg/engine"
	"github.com/pgrepctl/pgrepctl/pkg/fault"
	"github.com/pgrepctl/pgrepctl/pkg/host"
	"github.com/pgrepctl/pgrepctl/pkg/plan"
	"github.com/pgrepctl/pgrepctl/pkg/postgres"
	"github.com/pgrepctl/pgrepctl/pkg/ui"
)

// deployPlan is the built-in plan of a rollout.
const deployPlan = "deploy-ddl"

// deployment is a file that is about to be rolled out.
type deployment struct {
	o      rollout
	script *ddl.Script
	// relations are what the file names and does not make.
	relations []live.Relation
	parts     []ddl.Part
	routes    []ddl.Route
	plans     []*plan.Plan
	warnings  []string
	// before is the servers as they were read beside, and previews what was made of it.
	before   engine.Reading
	previews map[*plan.Plan]*engine.Preview
}

// deployment reads the file, looks who serves, and chooses the ways.
func (a *app) deployment(ctx context.Context, s *session, file string, text []byte, o rollout) (*deployment, error) {
	// What is wrong with the file is wrong without a connection.
	if _, err := ddl.Parse(file, text, 0); err != nil {
		return nil, &fault.Error{Class: fault.Invalid, Op: "read the schema change", Err: err, Hint: "pgrepctl ddl check " + file}
	}
	d := &deployment{o: o, before: engine.Reading{}, previews: map[*plan.Plan]*engine.Preview{}}
	pool, err := a.askAll(ctx, s, d, file, text)
	if err != nil {
		return nil, err
	}
	if o.from > len(d.parts) {
		return nil, &fault.Error{Class: fault.Usage, Err: fmt.Errorf("--from %d: %s has no such part, its last is %d", o.from, file, len(d.parts)),
			Hint: "pgrepctl ddl plan " + file + " --database " + o.database}
	}
	for i, p := range d.parts {
		if err := d.choose(p, pool); err != nil {
			return nil, err
		}
		pl, err := a.planPart(s, d, i)
		if err != nil {
			return nil, err
		}
		d.plans = append(d.plans, pl)
	}
	g, asking := errgroup.WithContext(ctx)
	g.Go(func() error { return a.unmanaged(asking, s, d) })
	g.Go(func() error { return a.poolers(asking, s, d) })
	return d, g.Wait()
}

// askAll asks all that has to be known of the cluster side by side, and reads each server
// meanwhile for the preview.
func (a *app) askAll(ctx context.Context, s *session, d *deployment, file string, text []byte) (ddl.Pool, error) {
	var look *ddlReport
	var pool ddl.Pool
	g, asking := errgroup.WithContext(ctx)
	var mu sync.Mutex
	read := func(name string) {
		r := s.Read(asking, name)
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(d.before, r)
	}
	g.Go(func() (err error) {
		read(s.inv.Primary().Name) // which tells where its socket is
		look, err = lookDDL(asking, s, s.inv.Primary().Name, d.o.role, ddlCheck{file: file, database: d.o.database}, text)
		return err
	})
	g.Go(func() (err error) {
		pool, err = a.pool(asking, s)
		return err
	})
	for _, x := range s.inv.Standbys() {
		g.Go(func() error {
			read(x.Name) // one that does not answer is refused where it is needed
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return pool, err
	}
	d.script, d.parts, d.relations = look.Script, look.Parts(), look.Relations
	pool.First, pool.Least = d.o.first, d.o.minServing
	return pool, nil
}

// askAs has a name mean what it means to the role that runs the script: after SET ROLE
// "$user" in search_path is the role, and a schema that it may not use is passed over. The
// session stays who it is, for many a role is told less of who holds a lock. A role that it may
// not become is refused by the rollout itself.
func askAs(ctx context.Context, sql host.SQL, role string, c ddlCheck, text []byte) (*ddlReport, error) {
	if role == "" {
		return askDDL(ctx, sql, c, text)
	}
	name, err := postgres.QuoteIdent(role)
	if err != nil {
		return nil, err
	}
	err = sql.Exec(ctx, "SET ROLE "+name+"; select set_config('search_path', array_to_string(array(select quote_ident(s) from unnest(current_schemas(false)) s), ', '), false); RESET ROLE")
	if err != nil && host.SQLState(err) == "" {
		return nil, err
	}
	r, err := askDDL(ctx, sql, c, text)
	if err == nil {
		err = sql.Exec(ctx, "RESET search_path") // as it began
	}
	return r, err
}

// choose finds the way of the next part, or refuses it with its place in the file.
func (d *deployment) choose(p ddl.Part, pool ddl.Pool) error {
	r, err := ddl.Choose(p, ddl.Mode(d.o.mode), pool)
	if err == nil && p.Class == ddl.Rewrite && !d.o.allowRewrite {
		err = fmt.Errorf("it may write a table anew: %s", p.Why)
	} else if err == nil {
		err = d.tooLong(p)
	}
	if err != nil {
		st := p.Statements[max(0, slices.IndexFunc(p.Statements, func(x ddl.Statement) bool { return x.Class == p.Class }))]
		return fault.Refuse("", d.otherWay(p), fmt.Errorf("%s:%d: %s: %w", d.script.File, st.Line, st.Command, err))
	}
	d.routes = append(d.routes, r)
	return nil
}

// otherWay is what to type when a part cannot be rolled out.
func (d *deployment) otherWay(p ddl.Part) string {
	look := "pgrepctl ddl check " + d.script.File + " --database " + d.o.database
	if p.Alone { // no flag makes a transaction of it
		return look + " says more"
	}
	if p.Class == ddl.Rewrite && !d.o.allowRewrite {
		return look + " --probe tells whether it does; --allow-rewrite does it all the same"
	}
	return look + " says more; --allow-rewrite, --mode and --first change what is done"
}

// tooLong refuses a part that writes tables anew for longer than the standbys that serve may
// be late: by a cautious guess. Each table counts once for each statement that does.
func (d *deployment) tooLong(p ddl.Part) error {
	var bytes int64
	for _, st := range p.Statements {
		for _, rel := range d.relations {
			if !rel.RewrittenBy(st) {
				continue
			}
			if rel.Bytes < 0 {
				return fmt.Errorf("how long it takes to write %s anew is not known: somebody has locked it, so that its size cannot be read%s", rel.As, lockedBy(rel))
			}
			bytes += rel.Bytes
		}
	}
	if takes := live.RewriteTime(bytes); takes > d.o.maxStale {
		return fmt.Errorf("to write it anew may take %s, and the standbys that serve may be %s late (--max-stale)", ui.Span(takes), ui.Span(d.o.maxStale))
	}
	return nil
}

func lockedBy(rel live.Relation) string {
	if who := heldBy(rel.Holders); who != "" {
		return " (" + who + ")"
	}
	return ""
}

// quiet are the relations that a part names, as oids with commas between.
func (d *deployment) quiet(p ddl.Part) string {
	var out []string
	for _, rel := range d.relations {
		if rel.Exists && slices.ContainsFunc(p.Statements, func(st ddl.Statement) bool { return rel.In(st) }) {
			out = append(out, strconv.FormatInt(rel.OID, 10))
			if rel.Table != 0 { // an index is locked with its table
				out = append(out, strconv.FormatInt(rel.Table, 10))
			}
		}
	}
	return strings.Join(out, ",")
}

// unmanaged refuses to pause what somebody else may resume.
func (a *app) unmanaged(ctx context.Context, s *session, d *deployment) error {
	if d.o.acceptManager {
		return nil
	}
	var paused []string
	for _, r := range d.routes {
		paused = append(paused, r.Second...)
	}
	slices.Sort(paused)
	paused = slices.Compact(paused)
	errs := make([]error, len(paused))
	var wg sync.WaitGroup
	for i, name := range paused {
		wg.Go(func() {
			h, _ := s.inv.Host(name)
			found, err := a.managers(ctx, s, h)
			if err == nil && len(found) > 0 {
				err = fault.Refuse(name, "pause it (patronictl pause, or stop repmgrd), and add --accept-manager", fmt.Errorf("%s may resume its replay, or promote it, while it is paused", strings.Join(found, " and ")))
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// planPart fills the built-in plan in for one part.
func (a *app) planPart(s *session, d *deployment, i int) (*plan.Plan, error) {
	o, p, r := d.o, d.parts[i], d.routes[i]
	list, err := json.Marshal(p.Texts())
	if err != nil {
		return nil, err
	}
	drain := cmp.Or(o.drainTimeout, s.inv.Traffic.DrainTimeout, 10*time.Minute)
	var late []string
	for _, x := range s.inv.Standbys() {
		if x.ApplyDelay > 0 {
			late = append(late, x.Name)
		}
	}
	pause := time.Duration(max(len(r.Second), 1)) * (drain + o.maxStale + 2*time.Minute)
	leash := o.lockWait + pause
	vars := map[string]string{"database": o.database, "statements": string(list), "role": o.role, "mode": string(r.Mode),
		"first": strings.Join(r.First, ","), "second": strings.Join(r.Second, ","), "not": strings.Join(late, ","),
		"allow-rewrite": strconv.FormatBool(o.allowRewrite), "alone": strconv.FormatBool(p.Alone), "no-lock": strconv.FormatBool(r.Mode == ddl.Directly),
		"lock-timeout": o.lockTimeout.String(), "lock-wait": o.lockWait.String(), "drain-timeout": drain.String(), "max-stale": o.maxStale.String(), "leash": leash.String(), "pause": pause.String(),
		"cancel-after": o.cancelAfter.String(), "terminate-idle": strconv.FormatBool(o.terminateIdle), "one-by-one": strconv.FormatBool(r.OneByOne), "min-serving": strconv.Itoa(max(o.minServing, 1)),
		"file": d.script.File, "sha256": d.script.SHA256, "part": fmt.Sprintf("%d/%d", i+1, len(d.parts))}
	if r.Mode == ddl.Gate {
		vars["quiet"] = d.quiet(p)
	}
	return a.builtinPlan(s.inv, deployPlan, vars)
}
