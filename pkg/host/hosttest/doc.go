// Package hosttest is a database host in memory, for tests: files that behave as
// those of a real one, and a script of the commands and statements that are
// expected. What was not expected fails the test, and so does what was expected
// and did not come.
package hosttest
