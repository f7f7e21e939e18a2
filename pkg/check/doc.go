// Package check says whether a host may have traffic, and remembers what it said.
//
// A check without memory flaps: a standby that catches up crosses any limit many
// times. Here a standby is out above a maximum of lag, and in again only when its
// lag was below a minimum for a while. The package is pure: observations, a
// policy and the state before go in, the state now comes out. No clock, no host.
package check
