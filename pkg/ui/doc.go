// Package ui is the only package that prints. It is given writers and never
// opens one.
//
// The rules of what it prints: standard output has the result, standard error
// the progress; texts are lower case and without a final period; a colour never
// says what a word or a sign does not say too; text from a host cannot move
// the cursor or change colours (control characters are replaced); the same
// input gives the same bytes.
package ui
