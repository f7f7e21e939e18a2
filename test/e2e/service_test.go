package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrepctl/pgrepctl/pkg/doctor"
)

const (
	unit       = "postgresql@15-main"
	bySystemd  = "{kind: systemd, name: " + unit + "}"
	byDebian   = "{kind: pg_ctlcluster}"
	bySomeUnit = "{kind: systemd, name: postgresql}"
)

// unitOf tells how systemd sees a host's server: the unit's state, and whether
// its main process is the postmaster.
func (s *site) unitOf(t *testing.T, name string) string {
	t.Helper()
	unit := "postgresql@" + s.major + "-main"
	return s.at(t, name, `main=$(systemctl show --value -p MainPID `+unit+`)
whose=nobody
if [ "$main" != 0 ]; then whose=other; fi
if [ "$main" = "$(head -n 1 $data/postmaster.pid 2>/dev/null)" ]; then whose=postmaster; fi
echo "$(systemctl show --value -p ActiveState `+unit+`) $whose"`)
}

func TestSystemdUnitIsStartedAndStoppedByBootstrapAndUndo(t *testing.T) {
	keptByItsUnit(t, take(t, booted))
}

// keptByItsUnit makes a standby that is systemd's from the start on, also after a power
// cut, and takes it back.
func keptByItsUnit(t *testing.T, s *site) {
	o := newOperator(t, s)
	was := s.before(t, lenient)
	primary := s.at(t, "h1", "head -n 1 $data/postmaster.pid")
	apply(t, o, "h2")
	s.streams(t, "h2")
	s.sameTables(t, "h2")
	if got := s.unitOf(t, "h2"); got != "active postmaster" {
		t.Errorf("unit on h2: %s", got)
	}
	o.call("status").exits(0).says("streaming")
	o.sound()
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do", "streams from h1")

	// As after a power cut: systemd itself starts the standby.
	s.do(t, s.lab.Kill(t.Context(), "h2"))
	s.do(t, s.lab.Start(t.Context(), "h2"))
	s.eventually(t, "the standby to stream again", func() bool {
		return s.sql(t, "h1", "postgres", "select state from pg_stat_replication") == "streaming"
	})
	if got := s.unitOf(t, "h2"); got != "active postmaster" {
		t.Errorf("unit on h2 after a boot: %s", got)
	}

	o.call("runs", "undo", o.runID(), "--yes").exits(0).says("undone")
	if got := s.unitOf(t, "h2"); got != "inactive nobody" {
		t.Errorf("unit on h2 after the undo: %s", got)
	}
	if now := s.at(t, "h1", "head -n 1 $data/postmaster.pid"); now != primary || s.unitOf(t, "h1") != "active postmaster" {
		t.Errorf("the primary was process %s, is %s, unit %s", primary, now, s.unitOf(t, "h1"))
	}
	s.unchanged(t, was, lenient)
}

func TestSystemdRestartsThePrimaryWhereAPlanAsksForIt(t *testing.T) {
	s := take(t, booted)
	o := newOperator(t, s)
	o.call("run", file(t, "restart.yaml", restartPlan), "--yes").exits(0).says("restart the server")
	if got := s.sql(t, "h1", "postgres", "show max_connections") + " " + s.unitOf(t, "h1"); got != "150 active postmaster" {
		t.Errorf("max_connections and unit: %s", got)
	}
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	s.at(t, "h1", "systemctl restart "+unit)
}

// Without a lock: that one is a session on the primary, which the restart ends.
const restartPlan = `name: restart
doc: Raises a setting that needs a restart.
steps:
- {at: primary, postgresql.conf: {set: {max_connections: {min: 150}}}}
- {at: primary, server: {settle: restart}}
`

// The login user of the tool needs root for these three commands and for
// nothing else.
func TestSystemdNeedsNoMoreRightsThanTheSudoersExampleGives(t *testing.T) {
	s := take(t, booted)
	o := newOperator(t, s)
	text := string(read(t, "../../docs/sudoers.example"))
	text = strings.NewReplacer("deploy", "admin", "#admin", "admin", "#deploy", "admin", "#\t", "\t", "postgresql-15", unit).Replace(text)
	if strings.Count(text, "systemctl") != 3 || !strings.Contains(text, "\nadmin ALL=(root) NOPASSWD: /usr/bin/systemctl start "+unit+", \\") {
		t.Fatalf("the example has no lines for systemd, or others:\n%s", text)
	}
	for _, h := range s.names() {
		s.at(t, h, "cat > /etc/sudoers.d/admin <<'SUDOERS'\n"+text+"SUDOERS\nvisudo -cqf /etc/sudoers.d/admin")
	}
	apply(t, o, "h2")
	s.streams(t, "h2")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	if got := s.unitOf(t, "h2"); got != "inactive nobody" {
		t.Errorf("unit on h2: %s", got)
	}
	again := newOperator(t, s)
	again.call("run", file(t, "restart.yaml", restartPlan), "--yes").exits(0)
	again.call("runs", "undo", again.runID(), "--yes").exits(0)
	s.at(t, "h1", "systemctl restart "+unit)
}

func (o *operator) doctor(code int) []doctor.Finding {
	o.t.Helper()
	var r struct{ Findings []doctor.Finding }
	o.call("doctor", "-o", "json").exits(code).decode(&r)
	return r.Findings
}

// findings are those of a doctor's checks of services, as "host severity id".
func (o *operator) findings(code int) []string {
	o.t.Helper()
	all := o.doctor(code)
	var out []string
	for _, f := range all {
		if strings.HasPrefix(f.ID, "service.") {
			out = append(out, f.Host+" "+string(f.Severity)+" "+f.ID)
			if f.Remedy == "" {
				o.t.Errorf("%s: no remedy", f.ID)
			}
		}
	}
	return out
}

// sound asserts that doctor finds nothing to mend; a lab's standbys listen on
// localhost alone, as Debian's do, and that is a note.
func (o *operator) sound() {
	o.t.Helper()
	for _, f := range o.doctor(0) {
		if f.ID != "standby.listens" {
			o.t.Errorf("doctor: %s %s %s", f.Host, f.Severity, f.ID)
		}
	}
}

func TestDoctorNamesTheUnitThatHasTheServer(t *testing.T) {
	s := take(t, booted)
	if got := newOperator(t, s).findings(0); got != nil {
		t.Errorf("with the right unit: %v", got)
	}
	o := newOperator(t, s).with(bySystemd, byDebian)
	if got, want := o.findings(0), []string{"h1 warn service.unit", "h2 warn service.unit"}; !slices.Equal(got, want) {
		t.Errorf("with pg_ctlcluster: %v", got)
	}
	o.call("doctor").exits(0).says("belongs to systemd's unit "+unit, "service: "+bySystemd)
	// Debian's postgresql.service starts all clusters, and has none of them.
	o = newOperator(t, s).with(bySystemd, bySomeUnit)
	was := s.before(t, strict)
	if got, want := o.findings(3), []string{"h1 block service.owner"}; !slices.Equal(got, want) {
		t.Errorf("with another unit: %v", got)
	}
	o.call("standby", "bootstrap", "h2", "--yes").exits(6).says("service.owner", "service: "+bySystemd)
	o = newOperator(t, s).with(bySystemd, "{kind: systemd, name: postgresql-15}")
	if got, want := o.findings(3), []string{"h1 block service.owner", "h2 block service.owner"}; !slices.Equal(got, want) {
		t.Errorf("with a unit that does not exist: %v", got)
	}
	s.unchanged(t, was, strict)
}

// As postgres, pg_ctlcluster does not hand over to systemctl.
func TestServerThatPgCtlClusterStartedIsFoundOutsideOfItsUnit(t *testing.T) {
	s := take(t, booted)
	debian, systemd := newOperator(t, s).with(bySystemd, byDebian), newOperator(t, s)
	debian.call("standby", "bootstrap", "h2", "--yes").exits(0).says("h2 service.unit", "outside of its unit")
	s.streams(t, "h2")
	if got := s.unitOf(t, "h2"); got != "inactive nobody" {
		t.Fatalf("unit on h2: %s", got)
	}
	if got, want := debian.findings(0), []string{"h1 warn service.unit", "h2 warn service.unit"}; !slices.Equal(got, want) {
		t.Errorf("with pg_ctlcluster: %v", got)
	}
	if got, want := systemd.findings(3), []string{"h2 block service.owner"}; !slices.Equal(got, want) {
		t.Errorf("with systemd: %v", got)
	}
	// The remedy.
	debian.call("doctor").says("sudo -u postgres pg_ctlcluster 15 main stop; sudo systemctl start " + unit)
	s.at(t, "h2", "cd /; sudo -u postgres pg_ctlcluster 15 main stop; sudo systemctl start "+unit)
	if got := s.unitOf(t, "h2"); got != "active postmaster" {
		t.Errorf("unit on h2: %s", got)
	}
	systemd.sound()
	s.streams(t, "h2")
}

func TestDoctorWarnsOfAUnitThatKillsALongRecovery(t *testing.T) {
	s := take(t, booted)
	t.Cleanup(func() { s.at(t, "h2", "rm -r /run/systemd/system/"+unit+".service.d; systemctl daemon-reload") })
	s.at(t, "h2", `mkdir -p /run/systemd/system/`+unit+`.service.d
printf '[Service]\nTimeoutStartSec=90\n' >/run/systemd/system/`+unit+`.service.d/limit.conf
systemctl daemon-reload`)
	o := newOperator(t, s)
	if got, want := o.findings(0), []string{"h2 warn service.start-timeout"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	o.call("doctor").exits(0).says("1min 30s", "TimeoutStartSec=infinity")
}

// kind: command, on hosts without a service manager.
func TestCommandsOfTheUsersOwnStartStopAndRestartTheServer(t *testing.T) {
	s := take(t, dataDirectory)
	const program = "/usr/local/sbin/our server"
	for _, h := range s.names() {
		s.at(t, h, `cat >'`+program+`' <<SCRIPT
#!/bin/sh
set -eu
echo "\$(id -un) \$*" >>/tmp/calls
[ "\$2" = "of the shop" ]
cd /
HOME=/var/lib/postgresql exec setpriv --reuid postgres --regid postgres --init-groups $bin/pg_ctl -s -w -D $data -l $log "\$1"
SCRIPT
chmod 755 '`+program+`'`)
	}
	argv := func(verb string) string { return `[sudo, -n, "` + program + `", ` + verb + `, "of the shop"]` }
	o := newOperator(t, s).with("{kind: pg_ctl}", "{kind: command, start: "+argv("start")+", stop: "+argv("stop")+", restart: "+argv("restart")+
		", reload: "+argv("reload")+", status: "+argv("status")+"}")
	calls := func(name string) string { return s.at(t, name, "cat /tmp/calls 2>/dev/null || true") }

	was := s.before(t, lenient)
	apply(t, o, "h2")
	s.streams(t, "h2")
	if got := calls("h2") + "/" + calls("h1"); got != "root start of the shop/" {
		t.Errorf("h2 and h1 were told: %s", got)
	}
	o.call("standby", "bootstrap", "h2", "--yes").exits(0).says("nothing to do")
	o.call("runs", "undo", o.runID(), "--yes").exits(0)
	if got := calls("h2"); got != "root start of the shop\nroot stop of the shop" {
		t.Errorf("h2 was told: %s", got)
	}
	s.at(t, "h2", "rm /tmp/calls")
	s.unchanged(t, was, lenient)

	o.call("run", file(t, "restart.yaml", restartPlan), "--yes").exits(0)
	if got := calls("h1") + " " + s.sql(t, "h1", "postgres", "show max_connections"); got != "root restart of the shop 150" {
		t.Errorf("h1 was told: %s", got)
	}
	// The reset does not restart a server that runs.
	s.at(t, "h1", `cp -a /var/e2e/data/postgresql.conf $config/; as $bin/pg_ctl -s -w -D $data -l $log restart`)
}
