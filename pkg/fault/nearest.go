package fault

import "strings"

// Nearest returns the known word that a typing slip of word most likely meant,
// or "". The first of equally near words wins, so the order of known decides.
func Nearest(word string, known []string) string {
	limit := 2
	switch {
	case len(word) <= 3:
		limit = 1
	case len(word) > 64:
		return "" // no slip, and the distance is quadratic
	case len(word) > 8:
		limit = 3
	}
	best := ""
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d <= limit {
			best, limit = k, d-1
		}
	}
	return best
}

// DidYouMean is the hint for a word that is none of the known: the nearest of them, or
// nothing.
func DidYouMean(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// Unknown is the same at the end of a text whose hint says something else.
func Unknown(text, word string, known []string) string {
	if hint := DidYouMean(word, known); hint != "" {
		return text + " (" + hint + ")"
	}
	return text
}

// distance counts insertions, deletions, replacements and swaps of neighbours
// (optimal string alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
