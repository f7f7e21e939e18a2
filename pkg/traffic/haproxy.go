// Package traffic is the words of the balancers: how they are told to keep reads
// away from a standby, and how their answers read. It reaches none.
package traffic

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgrepctl/pgrepctl/pkg/facts"
)

// Commands of HAProxy's runtime socket (management.txt, 9.3). The names are of
// letters, digits and _ . : - alone, which the inventory sees to; anything else
// could end the command.

// ShowHAProxy asks for the servers of a backend: two commands, for what an operator
// made of a server is in the answer of the one, and its sessions are in the other's. The
// other one is asked about all proxies: by a name show stat takes the first proxy that has it,
// and a frontend may be called as its backend is (proxy_find_by_name), and has no server.
func ShowHAProxy(backend string) string {
	return "show servers state " + backend + "; show stat -1 4 -1"
}

// statHeader begins the answer to show stat.
const statHeader = "# pxname,"

// SetHAProxy puts a server into a state: ready, drain or maint. A server in drain
// keeps the sessions that it has.
func SetHAProxy(backend, server, state string) string {
	return "set server " + backend + "/" + server + " state " + state
}

// CutHAProxy ends all sessions of a server.
func CutHAProxy(backend, server string) string {
	return "shutdown sessions server " + backend + "/" + server
}

// Bits of srv_admin_state (include/haproxy/server-t.h): who keeps the server from
// serving. Of the configuration file and of a tracked server nobody can say ready
// here.
const (
	forcedMaint    = 0x01
	inheritedMaint = 0x02
	configMaint    = 0x04
	forcedDrain    = 0x08
	inheritedDrain = 0x10
	resolveMaint   = 0x20
	nameMaint      = 0x40

	anyMaint = forcedMaint | inheritedMaint | configMaint | resolveMaint | nameMaint
	anyDrain = forcedDrain | inheritedDrain

	// srv_op_state. In its slowstart a server gets fewer sessions, and gets them.
	operStarting = 1
	operRunning  = 2
)

// ReadHAProxy reads the two answers.
func ReadHAProxy(backend, answer string) ([]facts.Balanced, error) {
	states, stat, found := strings.Cut(answer, statHeader)
	servers, err := readStates(backend, states)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("haproxy: no statistics of backend %s", backend)
	}
	return servers, readStat(backend, servers, statHeader+stat)
}

func readStates(backend, answer string) ([]facts.Balanced, error) {
	var header []string
	var out []facts.Balanced
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "# "):
			header = fields[1:]
		case header == nil && len(fields) == 1: // the version of the format
			if _, err := strconv.Atoi(line); err != nil {
				return nil, fmt.Errorf("haproxy: %s", line)
			}
		case header == nil:
			return nil, fmt.Errorf("haproxy: %s", line) // "Can't find backend."
		default:
			s, err := readState(backend, header, fields)
			if err != nil {
				return nil, err
			}
			if s.Name != "" {
				out = append(out, s)
			}
		}
	}
	if header == nil {
		return nil, fmt.Errorf("haproxy: no answer about backend %s", backend)
	}
	return out, nil
}

func readState(backend string, header, fields []string) (facts.Balanced, error) {
	get := func(key string) string {
		for i, h := range header {
			if h == key && i < len(fields) {
				return fields[i]
			}
		}
		return ""
	}
	if get("be_name") != backend {
		return facts.Balanced{}, nil
	}
	oper, err1 := strconv.Atoi(get("srv_op_state"))
	admin, err2 := strconv.Atoi(get("srv_admin_state"))
	if err1 != nil || err2 != nil {
		return facts.Balanced{}, fmt.Errorf("haproxy: cannot read the state of a server: %s", strings.Join(fields, " "))
	}
	s := facts.Balanced{Backend: backend, Name: get("srv_name"), State: facts.Serving, Admin: "ready", Sessions: -1}
	switch {
	case admin&forcedMaint != 0:
		s.Admin = "maint"
	case admin&forcedDrain != 0:
		s.Admin = "drain"
	}
	switch {
	case admin&(anyMaint|anyDrain) != 0:
		s.State = facts.Drained
	case oper != operStarting && oper != operRunning:
		s.State = facts.CheckFails
	case get("srv_uweight") == "0": // the weight of now, which an agent sets; srv_iweight is the file's
		s.State = facts.Weightless
	}
	return s, nil
}

// readStat adds the sessions. Of a server without a row nobody knows whether it has any.
func readStat(backend string, servers []facts.Balanced, answer string) error {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimSpace(answer), "# ")))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return fmt.Errorf("haproxy: show stat: %w", err)
	}
	if len(rows) == 0 {
		return fmt.Errorf("haproxy: no statistics of backend %s", backend)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	get := func(row []string, key string) string {
		if i, ok := column[key]; ok && i < len(row) {
			return row[i]
		}
		return ""
	}
	of := map[string][]string{}
	for _, row := range rows[1:] {
		if get(row, "pxname") == backend {
			of[get(row, "svname")] = row
		}
	}
	for i, s := range servers {
		row, ok := of[s.Name]
		if !ok {
			return fmt.Errorf("haproxy: no statistics of server %s in backend %s", s.Name, backend)
		}
		n, err := strconv.Atoi(get(row, "scur"))
		if err != nil {
			return fmt.Errorf("haproxy: sessions of %s: %q", s.Name, get(row, "scur"))
		}
		servers[i].Sessions, servers[i].Backup = n, get(row, "bck") == "1"
	}
	return nil
}
