// Package lab makes throw-away database hosts on this Linux machine: each with
// its own network address, disk, PID 1, real sshd, sudo, rsync and PostgreSQL.
// They are for demonstrations, rehearsals and end-to-end tests, and can lose
// their power, their cable or each other.
//
// A lab is one process tree: PID 1 of the lab (scripts/machine.sh) holds a
// mount, network and pid namespace, and for a plain user a user namespace, and
// every host lives in namespaces below. There is no daemon and nothing of a
// lab is outside of it: no interface, route, mount or control group on the
// machine itself. When that one process ends, the kernel ends all the rest;
// what remains is files in one directory.
//
// The lab's network has no uplink and the machine has no route to it. The way
// in is a socket made inside it: Lab.DialContext for Go, the ProxyCommand in
// the generated inventory and ssh_config for programs. So a lab address can
// never be dialed on the outside by mistake, not even after Down.
//
// Needs Linux with overlayfs (in user namespaces since Linux 5.11) and the
// programs unshare, nsenter, ip and, the first time, mmdebstrap.
package lab
