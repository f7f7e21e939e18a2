// Package remotetest has SSH servers for tests: one in the test's own process,
// with faults to order, and a real sshd on the loopback; and the contract that
// a host must keep over both.
//
// Commands run for real, by /bin/sh on this machine, as the user of the test.
package remotetest
