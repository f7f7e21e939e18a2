//go:build race

package engine_test

// The race detector makes a run ten times as slow, and looks at the same code in
// each of them: one instant in six is enough for it. Without it every instant is
// tried.
const raced = 6
