// Package live gathers the facts of a host through host.Host. It changes
// nothing there.
//
// One Gather costs one command as the owner of the data directory and one SQL
// round trip; the first adds a command as the login user and one more query.
// What it reads is text written by somebody else's programs, so each reader is
// a pure function that takes any bytes.
package live
