// Package inventory reads the one file that declares a replication cluster.
//
// Load gives a Cluster in which nothing is left to default: every value of a
// host is its own, the cluster's or the documented default, in that order. The
// file is read strictly, and every mistake in it is reported at once, with its
// place.
//
// The package is pure data. It opens no connection and runs no command: a
// secret is a reference here, and pkg/secret/source resolves it.
package inventory
